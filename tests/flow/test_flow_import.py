"""What importing the authoring names costs: read in a child process, which starts with nothing of ours."""

import json
import subprocess
import sys

PROGRAM = """
import json, sys
before = set(sys.modules)
import flowstead
bare = sorted(set(sys.modules) - before)
from flowstead import *
import flowstead.flow.local, flowstead.flow.foreground, flowstead.flow.describe, flowstead.flow.discovery
print(json.dumps([bare, sorted(set(sys.modules) - before), sorted(flowstead.__all__), sorted(dir(flowstead))]))
"""


def test_authoring_loads_only_the_standard_library_and_little_of_it():
    child = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    bare, everything, names, listed = json.loads(child.stdout)
    assert bare == ["flowstead", "flowstead.version"]
    foreign = {name.partition(".")[0] for name in everything} - sys.stdlib_module_names - {"flowstead"}
    assert not foreign
    assert {name for name in everything if name.startswith("flowstead.")} <= {
        "flowstead.version", *(name for name in everything if name.startswith("flowstead.flow"))
    }  # fmt: skip
    assert not {"asyncio", "logging", "zoneinfo", "tomllib", "sqlite3", "subprocess"} & set(everything)
    assert len(everything) < 90
    assert set(names) == {
        "Flow", "FlowContext", "Batch", "FileRef", "ItemResult", "Choice", "discover_flows", "load_flow", "run",
        "RunCancelled", "__version__",
    }  # fmt: skip
    assert set(names) <= set(listed)


def test_an_unknown_name_is_an_attribute_error():
    import flowstead

    assert not hasattr(flowstead, "Folw")
