"""`fastes convert FILE`: a configuration of an older system as one of ours."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "Translate a configuration of es_pytorch, Uber's deep-neuroevolution or portable-es."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="JSON, TOML, or a program whose dictionary config is read, not run")
    add("--from", dest="system", metavar="SYSTEM", help="es_pytorch, uber or portable_es (default: what it looks like)")
    add("-o", "--out", type=Path, metavar="FILE.toml", help="write it there (default: print it)")
    add("--env", metavar="NAME", help="an environment to take in the place of the one that it names")
    add("--model", metavar="module:callable", help="portable_es: a policy in the place of model_class")
    add("--algorithm", metavar="NAME", help="uber: es, ga, rs, ns-es or nsr-es, where the file does not tell")


def run(options: argparse.Namespace) -> None:
    """Prints or writes it. Raises ConfigError for what cannot be translated, StorageError if it cannot be written."""
    from fastes.compat import SYSTEMS, read, recognised
    from fastes.errors import ConfigError, StorageError

    given = read(options.file)
    system = options.system or recognised(given)
    if system not in SYSTEMS:
        raise ConfigError(f"--from must be one of {', '.join(SYSTEMS)}, not {system!r}.")
    further = {"env": options.env}
    for name, belongs in (("model", "portable_es"), ("algorithm", "uber")):
        value = getattr(options, name)
        if value is not None and system != belongs:
            raise ConfigError(f"--{name} is for configurations of {belongs}, not of {system}.")
        if value is not None:
            further[name] = value
    translation = SYSTEMS[system](given, **further)
    text = translation.toml(f"{options.file.name} of {system}, translated by fastes convert.")
    if options.out is None:
        sys.stdout.write(text)
        return
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{options.out} cannot be written: {error.strerror}. Choose another file.") from error
    for note in translation.notes:
        print(note, file=sys.stderr)
    print(f"{options.out}: fastes train {options.out}")
