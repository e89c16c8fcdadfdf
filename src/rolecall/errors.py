"""Every exception that Rolecall raises on purpose.

    RolecallError
    ├── UsageError             wrong command line or argument        exit 2
    │   ├── UnknownThread      no such thread
    │   ├── UnknownRole        no such role in the stack
    │   ├── UnknownResponse    no such stored response
    │   └── BadInput           the question cannot be accepted
    ├── ConfigError            a YAML, prompt or tool file is wrong  exit 2
    │   ├── UnknownModel       the endpoint does not have that id
    │   ├── RemoteEndpoint     the endpoint is not on this network
    │   ├── ArtefactDamaged    the router's encoder or head cannot be used
    │   └── DataError          a file of labelled prompts is wrong
    ├── NoModelReachable       every candidate for a role failed     exit 3
    │   └── ContextTooLong     none can read so much                 exit 4
    ├── ModelCallFailed        one attempt at one endpoint failed    exit 3
    │   ├── AnswerTruncated    a structured answer was cut off
    │   └── AnswerUnfit        a structured answer does not fit
    ├── RunnerFailed           the embedded runner cannot start      exit 3
    │   └── NotEnoughMemory    the model does not fit
    ├── DownloadFailed         weights could not be fetched          exit 3
    ├── TurnFailed             saved, can be resumed                 exit 4
    │   └── TurnInterrupted    ended on request                      exit 130
    ├── StateError             state cannot be read or saved         exit 5
    │   └── UndecodableState   a saved step cannot be read back
    └── ThreadBusy             another turn holds the thread         exit 6

A message says what happened, where (file and key, model and endpoint) and what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from rolecall.models.responses.result import Response
    from rolecall.reply import Reply


class RolecallError(Exception):
    """Base of the tree. ``exit_code`` is what the command line returns for it.

    ``reply`` is what a turn had brought so far, when the error ended one; ``response`` what
    ``LocalLLMClient.respond`` had.
    """

    exit_code: ClassVar[int] = 1
    reply: Reply | None = None
    response: Response | None = None


class UsageError(RolecallError):
    """The command line or an argument is wrong."""

    exit_code = 2


class UnknownThread(UsageError):
    """No thread has that id."""


class UnknownRole(UsageError):
    """The stack has no such role."""


class UnknownResponse(UsageError):
    """No response with that id is stored, or one before it is gone."""


class BadInput(UsageError):
    """The question is empty, too long, or not text."""


class ConfigError(RolecallError):
    """A configuration file, prompt or user tool is missing or wrong."""

    exit_code = 2


class UnknownModel(ConfigError):
    """The endpoint answers, but does not have the model id of the stack."""


class RemoteEndpoint(ConfigError):
    """The endpoint is outside loopback and private ranges, and the stack does not allow it."""


class ArtefactDamaged(ConfigError):
    """A file of the router's encoder or head is missing, damaged or of another version."""


class DataError(ConfigError):
    """A file of labelled prompts cannot be read; the message names the line."""


class ModelCallFailed(RolecallError):
    """One attempt at one endpoint failed.

    Attributes:
        retryable: whether the same request may work on another try or candidate.
        status: the HTTP status, if there was one.
        partial: the answer's text that had already arrived.
        retry_after: seconds after which the server wants to be asked again, if it said so.
        too_long: the server refused the prompt as too long; the next one for it will be shorter.
        another_way: the server refused a schema; the next call puts it in another way.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        status: int | None = None,
        partial: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.status = status
        self.partial = partial
        self.retry_after = retry_after
        self.too_long = False
        self.another_way = False


class AnswerTruncated(ModelCallFailed):
    """An answer under a schema was cut off by the token limit; ``partial`` is what came."""


class AnswerUnfit(ModelCallFailed):
    """An answer under a schema does not fit it, also when asked for again."""


class NoModelReachable(RolecallError):
    """Every candidate for a role failed; the message lists each with its reason."""

    exit_code = 3


class ContextTooLong(NoModelReachable):
    """What cannot be left out of a conversation is longer than the models can read."""

    exit_code = 4


class RunnerFailed(RolecallError):
    """The embedded runner cannot start or stopped while starting."""

    exit_code = 3


class NotEnoughMemory(RunnerFailed):
    """The model does not fit into the memory that is free now."""


class DownloadFailed(RolecallError):
    """Weights could not be fetched or do not match their checksum."""

    exit_code = 3


class TurnFailed(RolecallError):
    """A turn that was accepted did not finish. Its state is saved; ``rolecall resume`` goes on."""

    exit_code = 4


class TurnInterrupted(TurnFailed):
    """A turn was ended on request: Ctrl-C, SIGTERM, or its assistant was closed."""

    exit_code = 130


class StateError(RolecallError):
    """A database or a folder of ``ROLECALL_HOME`` cannot be read or written."""

    exit_code = 5


class UndecodableState(StateError):
    """A saved step cannot be read back; the message names the thread. Its bytes are kept."""


class ThreadBusy(RolecallError):
    """Another turn is running on this thread."""

    exit_code = 6
