"""`python -m model_store list | show REF | verify [REF ...] | alias NAME ALIAS VERSION`."""

import argparse
import sys
from pathlib import Path

from model_store.store import DEFAULT_ROOT, Store, StoreError


def _list(store: Store, _: argparse.Namespace) -> None:
    for model in store.models():
        size = sum(path.stat().st_size for path in model.folder.iterdir())
        print(f"{model.ref!s:32} {model.manifest.params.family:12} {size / 1e6:7.2f} MB  {model.ref.digest[:12]}")


def _show(store: Store, arguments: argparse.Namespace) -> None:
    print(store.resolve(arguments.reference).manifest.model_dump_json(indent=2))


def _verify(store: Store, arguments: argparse.Namespace) -> None:
    models = [store.resolve(reference) for reference in arguments.references] or list(store.models())
    for model in models:
        model.verify()
        print(f"{model.ref}: {len(model.manifest.graphs) + len(model.manifest.files)} files as the manifest says")


def _alias(store: Store, arguments: argparse.Namespace) -> None:
    store.set_alias(arguments.name, arguments.alias, arguments.version)
    print(f"{arguments.name}@{arguments.alias} is now {arguments.name}@{arguments.version}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model_store", description=__doc__)
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="the folder of models")
    commands = parser.add_subparsers(required=True)
    commands.add_parser("list", help="every version of every model").set_defaults(run=_list)
    show = commands.add_parser("show", help="the manifest of one model")
    show.add_argument("reference", help="name or name@version")
    show.set_defaults(run=_show)
    verify = commands.add_parser("verify", help="check the sha256 of every file")
    verify.add_argument("references", nargs="*")
    verify.set_defaults(run=_verify)
    alias = commands.add_parser("alias", help="let an alias mean a version")
    for name in ("name", "alias", "version"):
        alias.add_argument(name)
    alias.set_defaults(run=_alias)
    return parser


def main() -> int:
    arguments = _parser().parse_args()
    try:
        arguments.run(Store(arguments.root), arguments)
    except StoreError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
