"""What vector environments tell beside observations and rewards, lane by lane."""

from __future__ import annotations

from typing import Any

import numpy as np

_FINAL = "final_info"
_EPISODE = "episode"
_NOT_TOLD = frozenset({"final_obs", "final_observation", _FINAL})


def of_lane(infos: Any, lane: int) -> dict[str, Any]:
    """The info of one environment. infos: of all, a dictionary of arrays whose `_key` says which lanes have a `key`,
    or a list of dictionaries.

    Where a lane was reset in the same step, it is the info of its last step that is given.
    """
    if not isinstance(infos, dict):
        found = infos[lane]
        return dict(found) if found is not None else {}
    if _FINAL in infos and _has(infos, _FINAL, lane):
        # All else is the next episode's, but for what Gymnasium's RecordEpisodeStatistics adds.
        wrapped = {key: infos[key] for key in (_EPISODE, "_" + _EPISODE) if key in infos}
        return of_lane(wrapped, lane) | of_lane(infos[_FINAL], lane)
    found = {}
    for key, values in infos.items():
        if key in _NOT_TOLD or (key.startswith("_") and key[1:] in infos) or not _has(infos, key, lane):
            continue
        if isinstance(values, dict):
            inner = of_lane(values, lane)
            if inner:
                found[key] = inner
        else:
            found[key] = np.asarray(values)[lane] if np.ndim(values) else values
    return found


def _has(infos: dict[str, Any], key: str, lane: int) -> bool:
    mask = infos.get("_" + key)
    return mask is None or bool(np.asarray(mask)[lane])
