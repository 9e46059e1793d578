"""`fastes bench rollouts`: environment steps a second of whole populations, beside other libraries."""
