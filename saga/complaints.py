"""The engine's way to the log: a handler that is somebody else's and breaks harms no saga.

Only the handlers of the host decide where a record goes. What they raise is told on the standard
error, and never reaches who wrote the record.
"""

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class Complaints(_Adapter):
    """A logger that never raises.

    Args:
        name: of the logger under it, such as `saga.runner`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(name), {})

    def log(
        self,
        level: int,
        msg: object,
        *args: object,
        exc_info: Any = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **_: object,
    ) -> None:
        """Write a record; what a handler raises is told, and no more."""
        try:
            self.logger.log(
                level,
                msg,
                *args,
                exc_info=exc_info,
                stack_info=stack_info,
                stacklevel=stacklevel + 1,
                extra=extra,
            )
        except Exception as error:
            _tell(self.logger.name, error)


def _tell(name: str, error: Exception) -> None:
    with suppress(Exception):  # nobody is left to be told
        sys.stderr.write(f"saga: a handler of the logger {name} failed: {type(error).__name__}\n")
