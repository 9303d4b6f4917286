"""A bundle: a folder that holds everything needed to run a specialised net, and the proof of what it costs."""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hwnas.export.folder import check_writable, recover, replace_folder
from hwnas.export.predict import ModelInput, predict_script
from hwnas.export.record import NAME, BundleRecord, BundleRequest
from profilers.errors import InvalidInputError
from profilers.formats import ModelFile


def write_bundle(
    folder: Path,
    models: Sequence[ModelFile],
    *,
    labels: Sequence[str],
    takes: ModelInput,
    record: BundleRecord,
) -> BundleRecord:
    """Write the models, labels.txt, predict.py and bundle.json; returns the record with the digests of the files.

    predict.py runs the first of the models, which are one net in several formats. The folder appears as a whole, in
    place of the one from before. Raises InvalidInputError if that is of another request, or if nothing can be written.
    """
    contents = {
        **_model_files(models),
        "labels.txt": _labels_file(labels),
        "predict.py": predict_script(models[0].format, takes),
    }
    whole = replace(record, files=_digests(contents))
    replace_folder(folder, {**contents, NAME: whole.content()}, lambda: check_request(folder, record.request))
    return whole


def digests_of(models: Sequence[ModelFile]) -> dict[str, str]:
    """SHA-256s of the models by the names that their files will have."""
    return _digests(_model_files(models))


def check_place(folder: Path, request: BundleRequest) -> None:
    """Raise InvalidInputError if a bundle for `request` cannot be written to the folder: before all work for it."""
    check_request(check_writable(folder), request)


def check_request(folder: Path, request: BundleRequest | None) -> None:
    """Raise InvalidInputError if the folder holds a bundle for another request, which is not to be lost."""
    try:
        found = BundleRecord.read(folder / NAME)
    except InvalidInputError:
        return  # no bundle, or a damaged one
    same = found.request == request if found.request else request is None or found.data == request.data
    if not same:
        raise InvalidInputError(
            f"{folder} holds a bundle that was made for something else (hwnas report shows it): move it away"
        )


@dataclass(frozen=True)
class FoundBundle:
    """A bundle as it is on the disk."""

    folder: Path
    record: BundleRecord

    def altered(self) -> list[str]:
        """The files that are missing, or not those that were written."""
        return [name for name, sha256 in self.record.files.items() if _digest_of(self.folder / name) != sha256]


def read_bundles(bundles: Path) -> tuple[list[FoundBundle], list[str]]:
    """All bundles whose models are the ones that were measured, the smallest budget first; and what is wrong.

    What killed processes left is cleared up first.
    """
    recover(bundles)
    found, wrong = [], []
    for path in sorted(bundles.glob(f"[!.]*/{NAME}")):
        try:
            bundle = FoundBundle(path.parent, BundleRecord.read(path))
        except InvalidInputError as error:
            wrong.append(str(error))
            continue
        altered = bundle.altered()
        wrong += [f"{path.with_name(name)} is missing, or not the file that hwnas wrote" for name in altered]
        if not any(name.startswith("model.") for name in altered):
            found.append(bundle)
    return sorted(found, key=lambda one: (one.record.devices[0].device, one.record.devices[0].budget_ms)), wrong


def _model_files(models: Sequence[ModelFile]) -> dict[str, bytes]:
    return {f"model.{model.format}": model.content for model in models}


def _digests(contents: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def _digest_of(path: Path) -> str | None:
    """The SHA-256 of a file; None if it is missing, is a pipe or a folder, or cannot be read."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _labels_file(labels: Sequence[str]) -> bytes:
    """Labels, one a line, in UTF-8; a character that would break a line, or is no text, is written as an escape."""
    lines = ("".join(char if _is_plain(char) else ascii(char)[1:-1] for char in label) for label in labels)
    return "".join(f"{line}\n" for line in lines).encode()


def _is_plain(char: str) -> bool:
    """Whether a character is neither a control character, a separator of lines, nor half of one."""
    return unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")
