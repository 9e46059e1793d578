"""Ways of stepping many episodes together."""
