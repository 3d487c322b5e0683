"""Models in a repository of a Hugging Face hub: what a folder holds, with its page as ``README.md``.

Nothing else in voxangle goes to the network for a model. Credentials, the address of another hub (``HF_ENDPOINT``) and
working offline (``HF_HUB_OFFLINE``) are the hub library's own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, cast

from voxangle import __version__
from voxangle.encoders.card import ModelCard
from voxangle.encoders.model_files import DESCRIPTION, WEIGHTS, copy_model
from voxangle.errors import CheckpointError, MissingExtraError, VoxangleError
from voxangle.runtime.model_page import model_page

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelCardData

__all__ = ["HubCommit", "pull_model", "push_model"]

PAGE = "README.md"
FILES = (WEIGHTS, DESCRIPTION, PAGE)
# Licences that hubs know by these names; any other is told by its own.
LICENCES = {
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "mpl-2.0"),
    *("gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0"),
    *("cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
    *("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0"),
}


class HubCommit(NamedTuple):
    """A state of a repository.

    Attributes:
        repository: OWNER/NAME.
        revision: the commit's hash.
    """

    repository: str
    revision: str


def push_model(path: str | Path, repository: str, *, private: bool = False) -> HubCommit:
    """Put a model into a repository, made if missing.

    Args:
        path: the model, in any form that ``read_model`` takes.
        repository: OWNER/NAME.
        private: make the repository private, if it is made.

    Raises:
        CheckpointError: there is no whole model, or its licence is not stated and the repository is to be public.
        MissingExtraError: the ``hub`` extra is needed.
        VoxangleError: the hub refuses, or cannot be reached.
    """
    hub = _hub_library()
    with tempfile.TemporaryDirectory() as folder, _hub_errors(repository):
        card = copy_model(path, folder)
        name = repository.rpartition("/")[2]
        page = f"---\n{_front_matter(card).to_yaml()}\n---\n\n{model_page(card, f'models/{name}')}"
        (Path(folder) / PAGE).write_text(page, encoding="utf-8")
        api = hub.HfApi(library_name="voxangle", library_version=__version__)
        is_private = _is_private(api, repository)
        if private and is_private is False:
            raise VoxangleError(
                f"{repository}: is public already; make it private on its page, or push without --private"
            )
        if not (card.terms or (private if is_private is None else is_private)):
            raise CheckpointError(
                f"{path}: say under which licence others may use the model first (voxangle card --model {path} "
                "--licence cc-by-4.0), or push to a repository that is --private"
            )
        made = api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            allow_patterns=list(FILES),
            commit_message=f"{card.name}, by voxangle {__version__}",
        )
    return HubCommit(made.repo_id, commit.oid)


def pull_model(repository: str, out: str | Path, *, revision: str | None = None) -> HubCommit:
    """Fetch a model from a repository. It is read whole before anything at ``out`` is replaced.

    Only the files of a model of ours are fetched; nothing in them is run.

    Args:
        repository: OWNER/NAME.
        out: a folder, made if missing, or ``NAME.safetensors``.
        revision: a branch, tag or commit; None for the newest state.

    Raises:
        CheckpointError: the repository holds no whole model of ours.
        MissingExtraError: the ``hub`` extra is needed.
        StorageError: the folder cannot be written.
        VoxangleError: there is no such repository, it is closed to you, or the hub cannot be reached.
    """
    hub = _hub_library()
    with _hub_errors(repository):
        snapshot = Path(
            hub.snapshot_download(
                repository,
                revision=revision,
                allow_patterns=list(FILES),
                library_name="voxangle",
                library_version=__version__,
            )
        )
    if not (snapshot / DESCRIPTION).exists():
        raise CheckpointError(
            f"{repository}: no model of voxangle, which is {DESCRIPTION} and {WEIGHTS}; fetch another toolkit's files "
            "yourself and `voxangle import` them"
        )
    copy_model(snapshot, out)
    return HubCommit(repository, snapshot.name)


def _front_matter(card: ModelCard) -> ModelCardData:
    """What a hub reads of a page: licence, tags, figures."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="speaker-verification",
            task_name="Speaker verification",
            dataset_type=one.trials,
            dataset_name=one.trials,
            metric_type=one.name.lower(),
            metric_name=f"{one.name} [{one.low:.4g}, {one.high:.4g}]",
            metric_value=one.value,
        )
        for one in card.metrics
    ]
    licence = card.terms
    known = licence is not None and licence.lower() in LICENCES
    return ModelCardData(
        model_name=card.name,
        license=licence and (licence.lower() if known else "other"),
        license_name=None if known else licence,
        library_name="voxangle",
        tags=[
            "speaker-verification",
            "speaker-recognition",
            "speaker-embedding",
            "audio",
            card.encoder.architecture,
        ],
        eval_results=results or None,
    )


def _is_private(api: HfApi, repository: str) -> bool | None:
    """Whether a repository is private; None of one that is not there yet."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return bool(api.model_info(repository).private)
    except RepositoryNotFoundError:
        return None


def _hub_library() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.constants  # reads the environment, and takes its addresses apart
    except ModuleNotFoundError as error:
        raise MissingExtraError("a hub of models", "hub") from error
    except ValueError as error:
        raise VoxangleError(f"$HF_ENDPOINT is no address of a hub: {error}") from error
    return huggingface_hub


@contextmanager
def _hub_errors(repository: str) -> Iterator[None]:
    """The hub library's errors as ours, each with its cure."""
    from huggingface_hub import constants, errors

    # What the library's own errors extend: the base of all errors of the HTTP client it uses, which changed over time.
    unreachable = cast("type[Exception]", errors.HfHubHTTPError.__bases__[0])
    try:
        yield
    except errors.HFValidationError as error:
        raise VoxangleError(f"{repository}: not a name of a repository, which is OWNER/NAME") from error
    except errors.GatedRepoError as error:
        raise VoxangleError(
            f"{repository}: open only to those who were let in; ask on its page, then give your token in $HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise VoxangleError(
            f"{repository}: no such repository, or a private one: check the name, and give your token in $HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise VoxangleError(
            f"{repository}: has no such revision; name a branch, a tag or a commit"
        ) from error
    except errors.LocalTokenNotFoundError as error:
        raise VoxangleError(f"{repository}: who are you? Give your token in $HF_TOKEN") from error
    except errors.OfflineModeIsEnabled as error:
        raise VoxangleError(f"{repository}: the hub is switched off by $HF_HUB_OFFLINE") from error
    except errors.LocalEntryNotFoundError as error:
        raise VoxangleError(
            f"{repository}: not in the hub's cache here, and the hub cannot be reached (it may be switched off by "
            "$HF_HUB_OFFLINE)"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        cure = "; give a token that may write there in $HF_TOKEN" if status in (401, 403) else ""
        raise VoxangleError(
            f"{repository}: the hub answered {status}{cure} ({_first_line(error)})"
        ) from error
    except (unreachable, ValueError) as error:  # ValueError: $HF_ENDPOINT is no address
        raise VoxangleError(
            f"{repository}: the hub at {constants.ENDPOINT} cannot be reached ({_first_line(error)})"
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
