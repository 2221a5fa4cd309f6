"""Runs an agent's file as `python my_agent.py start` would, with the sandbox's hooks around it.

    python livekit_sandbox_launch.py my_agent.py start

The file is `__main__`, its folder is `sys.path[0]`, and what follows it is `sys.argv`. A file that
leaves its AgentServer to `lk agent start` or `python -m livekit.agents start`, and so ends without
having run one, has it started here. `file.py:name` runs an entrypoint function or an AgentServer by
its name in a module (a test's, say), which is then imported and not run.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["main", "run"]

_HERE = str(Path(__file__).resolve().parent)


def main() -> None:
    """As `__main__` of a fresh interpreter."""
    # Python put our folder first; the hooks are found all the same, and shadow nothing.
    sys.path[:] = [entry for entry in sys.path if entry != _HERE]
    run(sys.argv[1], sys.argv[2:])


def run(target: str, arguments: list[str]) -> None:
    """Run `target` with `arguments`; returns when its worker has ended."""
    sys.path.append(_HERE)
    file, _, name = target.partition(".py:")
    path = Path(file + ".py" if name else target).resolve()
    sys.path.insert(0, str(path.parent))
    sys.argv = [str(path), *arguments]
    from livekit_sandbox_hooks import install  # type: ignore[import-not-found,unused-ignore]

    install()
    if name:
        _start(_named(path, name))
    else:
        _run_file(path)


def _run_file(path: Path) -> None:
    """As the interpreter runs a script; for good, as its functions are pickled as `__main__`'s."""
    from livekit.agents import AgentServer

    started: list[Any] = []
    run_server = AgentServer.run

    async def noting(self: Any, *args: Any, **kwargs: Any) -> None:
        started.append(self)
        await run_server(self, *args, **kwargs)

    AgentServer.run = noting  # type: ignore[method-assign]
    module = ModuleType("__main__")
    module.__file__ = str(path)
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    if started:
        return
    servers = {name: v for name, v in vars(module).items() if isinstance(v, AgentServer)}
    for preferred in ("app", "server", "agent", *servers):
        if preferred in servers:
            _start(servers[preferred])
            return
    sys.exit(f"{path} ran to its end and started no livekit-agents worker: it neither calls "
             "cli.run_app(server) nor defines an AgentServer")  # fmt: skip


def _named(path: Path, name: str) -> Any:
    """The AgentServer called `name` in the module at `path`, or one made of that function."""
    from livekit.agents import AgentServer

    module_name, _, attribute = name.rpartition(":")
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part)
    if isinstance(found, AgentServer):
        return found
    server = AgentServer()
    server.rtc_session(found)
    return server


def _start(server: Any) -> None:
    from livekit.agents import cli

    cli.run_app(server)


if __name__ == "__main__":
    main()
