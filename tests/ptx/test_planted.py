"""Every planted bug is caught: by a check of the interpreter, or by wrong numbers."""

import pytest

from tests.ptx.cases import CASES
from tests.ptx.launching import Interpreter
from tests.ptx.machine import LATE
from tests.ptx.planted import BUGS
from tests.ptx.program import PtxError, UnknownInstruction


@pytest.mark.parametrize("name", BUGS)
def test_is_caught(name):
    bug = BUGS[name]

    def planted(ptx):
        edited = bug.edit(ptx)
        assert edited != ptx, "nothing was planted"
        return edited

    with pytest.raises((PtxError, UnknownInstruction, AssertionError), match=bug.told):
        CASES[bug.case](Interpreter(LATE, edit=planted))
