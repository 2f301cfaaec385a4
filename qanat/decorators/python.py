"""`python("module:function")`: a function of your own, from a record batch to a record batch.

    coll : autoCollectorSource | python("shop.events:enrich") file("/data/", "x-", format="parquet") ;

    def enrich(events: pa.RecordBatch) -> pa.RecordBatch:
        price = events.column("price").cast(pa.float64())
        return events.append_column("gross", pc.multiply(price, 1.19))

`events` has `body` (binary), `position` (uint64) and a column for each attribute that differs between events. Rows may be left
out and columns added, changed or removed; `body` and `position` stay, and the order of rows. The module has to be installed
where the node runs. A batch for which the function raises goes on as it came, with the attribute `decorator_error`; when it
raises RetryableError it is called again. The function is called on one thread at a time, must not count events or roll dice
(the same events may come again), and is as fast as its vector operations are.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from qanat.batch import Batch
from qanat.columns import POSITION, REQUIRED
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import rows
from qanat.errors import ConfigError

Function = Callable[[pa.RecordBatch], pa.RecordBatch]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `python(...)`."""

    function: str  # "package.module:function"


class Python(Decorator):
    """See the module."""

    name: ClassVar[str] = "python"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._path = config.function
        module, _, function = self._path.partition(":")
        if not module or not function:
            raise ConfigError(f'{self._path!r} names no function; write python("package.module:function")')
        self._function: Function | None = None

    def open(self) -> None:
        self._function = _loaded(self._path)

    def apply(self, batch: Batch) -> Batch:
        assert self._function is not None, "opened first"
        try:
            result = self._function(rows.record(batch))
        except SystemExit as error:  # a program is not a function's to end
            raise RuntimeError(f"{self._path} called sys.exit({error.code!r})") from error
        if not isinstance(result, pa.RecordBatch):
            raise TypeError(f"{self._path} gave {type(result).__name__}, not a pyarrow.RecordBatch")
        _check(self._path, rows.record(batch), result)
        return replace(batch, payload=result, count=result.num_rows)


def _loaded(path: str) -> Function:
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"python({path!r}): {error}; install the module on the host that runs this node, in the environment of qanat"
        ) from error
    except (Exception, SystemExit) as error:  # whatever a module of somebody's does
        raise ConfigError(
            f"python({path!r}): importing the module fails: {type(error).__name__}: {error}; mend it"
        ) from error
    if not callable(found):
        raise ConfigError(f"python({path!r}): that is no function but a {type(found).__name__}")
    function: Function = found
    return function


def _check(path: str, before: pa.RecordBatch, after: pa.RecordBatch) -> None:
    """Positions tell what is stored and what is not."""
    if POSITION not in after.schema.names:
        raise ValueError(f"{path} left out the column {POSITION}; it says which events these are")
    positions = after.column(POSITION)
    if positions.type != REQUIRED.field(POSITION).type or positions.null_count:
        raise ValueError(
            f"{path} made {positions.type} of the column {POSITION}, or nulls; leave it as it is"
        )
    known = pc.all(pc.is_in(positions, before.column(POSITION)), min_count=0).as_py()
    ascending = (
        pc.all(pc.less(positions[:-1], positions[1:]), min_count=0).as_py() if len(positions) > 1 else True
    )
    if not known or not ascending:
        raise ValueError(
            f"{path} gave events that it was not given, or twice, or in another order; leave rows out, or change them"
        )
