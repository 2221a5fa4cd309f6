"""The pytest plugin: options, fixtures, the header line and what a failing test shows."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import shutil
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandbox import errors
from sandbox.agents.worker import Agent, AgentHost
from sandbox.core import Sandbox
from sandbox.coverage import ApiCoverage
from sandbox.errors import PhoneError, SandboxError, UsageError
from sandbox.phone.call import Call
from sandbox.phone.client import Phone
from sandbox.speech.local import local_speech
from sandbox.stack.options import ENGINES, StackOptions
from sandbox.stack.run_dir import claim_run_dir
from sandbox.stack.stack import Stack
from sandbox.telephony.tracing import api_client
from sandbox.timeline import Timeline
from sandbox.trace.artifacts import MODES, Artifacts
from sandbox.trace.failure import failure_sections
from sandbox.trace.invariants.log_lines import AllowedLine
from sandbox.trace.invariants.rule import InvariantBroken
from sandbox.trace.invariants.rules import Allowance, allowance

_COVERAGE = pytest.StashKey[ApiCoverage]()
_SANDBOX = pytest.StashKey[Sandbox]()
_COUNTS = pytest.StashKey[dict[str, int]]()
_ARTIFACTS = pytest.StashKey[Artifacts]()
_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The command line's `--sandbox-…` options."""
    group = parser.getgroup("sandbox", "LiveKit SIP sandbox")
    group.addoption(
        "--sandbox-engine",
        choices=ENGINES,
        default=os.environ.get("SANDBOX_ENGINE_OPTION", "auto"),
        help="what brings the stack up (default: auto, which says what it picked)",
    )
    group.addoption(
        "--sandbox-output",
        default="test-results",
        metavar="DIR",
        help="folder for logs, configuration and reports (default: test-results)",
    )
    group.addoption(
        "--sandbox-coverage",
        nargs="?",
        const="summary",
        choices=("summary", "missing"),
        help="print which fields of the SIP API the run used ('missing': and which it did not)",
    )
    group.addoption(
        "--sandbox-trace",
        choices=MODES,
        default="retain-on-failure",
        help="whose report is kept: everybody's, nobody's, or that of failing tests (the default)",
    )
    group.addoption(
        "--sandbox-update-golden",
        action="store_true",
        help="write the golden ladders of assert_ladder anew instead of comparing with them",
    )
    group.addoption(
        "--sandbox-keep",
        action="store_true",
        help="keep the logs of a run in which every test passed",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    # pytest-asyncio asks for a setting that a project with us does not need: see
    # `pytest_pycollect_makeitem`.
    warnings.filterwarnings(
        "ignore", message='The configuration option "asyncio_default_fixture_loop_scope" is unset'
    )
    config.addinivalue_line(
        "markers",
        "only_livekit_sip(reason): needs the real livekit-sip; skipped on the stand-in",
    )
    config.addinivalue_line(
        "markers",
        "only_stand_in(reason): holds on the stand-in alone; skipped on livekit-sip",
    )
    config.addinivalue_line(
        "markers",
        "sandbox_allow(rule, reason, match): breaks this invariant on purpose (docs/invariants.md)",
    )
    config.stash[_COUNTS] = {}
    config.stash[_COVERAGE] = ApiCoverage()
    config.stash[_ARTIFACTS] = Artifacts(config)
    config.pluginmanager.register(config.stash[_ARTIFACTS], "sandbox-artifacts")
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(_Merge(config), "sandbox-coverage-merge")


def pytest_collection_finish() -> None:
    """Have the garbage collector leave alone what was collected, which stays to the end.

    Of a large suite it takes 0.15 s and more to look through, several times a run. The event loop
    stands still meanwhile, and the peers' audio has a gap.
    """
    gc.collect()
    gc.freeze()


class _Merge:
    """Under xdist: takes over what the workers' scenarios used of the API."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        # A worker that died has no output; xdist fails its test and starts another.
        output = getattr(node, "workeroutput", {})
        self._config.stash[_COVERAGE].merge(output.get("sandbox_coverage", {}))


def _worker(config: pytest.Config) -> str:
    return str(getattr(config, "workerinput", {}).get("workerid", "main"))


def _sip_label(config: pytest.Config) -> str:
    """Which SIP service a run will use, before anything is started."""
    from sandbox.stack import provision
    from sandbox.stack.stack import choose_engine

    engine = config.getoption("--sandbox-engine")
    if engine == "attach":
        return os.environ.get("SANDBOX_SIP_SERVICE", "attached deployment")
    try:
        if choose_engine(engine)[0] == "compose":
            from sandbox.stack.compose_choice import sip_label

            return sip_label()
        return provision.sip_service().label
    except SandboxError as error:
        return f"none ({error.what})"


def pytest_report_header(config: pytest.Config) -> list[str]:
    """One line that names the engine, the versions and the SIP service."""
    from sandbox import versions
    from sandbox.stack.stack import choose_engine

    try:
        engine, why = choose_engine(config.getoption("--sandbox-engine"))
    except SandboxError as error:
        return [f"sandbox: {error.what}"]
    header = (
        f"sandbox: engine {engine}, livekit-server {versions.LIVEKIT_SERVER}, "
        f"SIP service: {_sip_label(config)}"
    )
    return [header, f"sandbox: {why}"] if why else [header]


# --- fixtures that a user may override ----------------------------------------------------------


@pytest.fixture(scope="session")
def sandbox_engine(request: pytest.FixtureRequest) -> str:
    """The engine's name; override it to fix one for a project."""
    return str(request.config.getoption("--sandbox-engine"))


@pytest.fixture(scope="session")
def sandbox_config() -> Mapping[str, Mapping[str, Any]]:
    """Keys laid over the configuration: `{"server": {…}, "sip": {…}}`; override it."""
    return {}


@pytest.fixture(scope="session")
def sandbox_output(request: pytest.FixtureRequest) -> Path:
    """The folder of this run's artifacts; override it to put them elsewhere."""
    return Path(request.config.getoption("--sandbox-output")).absolute()


@pytest.fixture(scope="session")
def sandbox_allowed_log_lines() -> Sequence[AllowedLine]:
    """WARN and ERROR lines that are no fault in your project; override it."""
    return ()


# --- the stack ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sandbox_timeline() -> Timeline:
    """The timeline of the whole run."""
    return Timeline()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sandbox_stack(
    request: pytest.FixtureRequest,
    sandbox_engine: str,
    sandbox_config: Mapping[str, Mapping[str, Any]],
    sandbox_output: Path,
    sandbox_timeline: Timeline,
) -> AsyncIterator[Stack]:
    """The running stack, one for each xdist worker."""
    name = _worker(request.config)
    run_dir = claim_run_dir(sandbox_output, f"stack-{name}")
    options = StackOptions(
        engine=sandbox_engine,
        run_dir=run_dir,
        name=name,
        server_config=sandbox_config.get("server", {}),
        sip_config=sandbox_config.get("sip", {}),
    )
    stack = Stack(options, sandbox_timeline)
    failure = ""
    try:
        await stack.start()
    except SandboxError as error:
        failure = str(error)
    if failure:
        # The error says what is wrong; where in our code it was raised helps nobody.
        pytest.fail(failure, pytrace=False)
    try:
        sandbox_timeline.subscribe(request.config.stash[_COVERAGE].observe)
        yield stack
    finally:
        await stack.stop()
    if not request.session.testsfailed and not request.config.getoption("--sandbox-keep"):
        shutil.rmtree(run_dir, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _agent_host(sandbox_stack: Stack, sandbox_timeline: Timeline) -> AsyncIterator[AgentHost]:
    host = AgentHost(sandbox_stack.endpoints, sandbox_timeline)
    yield host
    await host.stop()


class _PhoneHolder:
    """The phone's client; made anew when the service has crashed."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._phone: Phone | None = None

    async def get(self) -> Phone:
        if self._phone is not None and self._phone.closed:
            await self.close()
            await self._stack.engine.restart_phone()
            self._stack.timeline.record("stack", "phone.restarted")
        if self._phone is None:
            ends = self._stack.endpoints
            self._phone = await Phone.connect(
                ends.phone_url,
                ends.phone_token,
                self._stack.timeline,
                log_path=ends.run_dir / "phone.log",
            )
        return self._phone

    async def close(self) -> None:
        if self._phone is not None:
            phone, self._phone = self._phone, None
            await phone.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _phone_holder(sandbox_stack: Stack) -> AsyncIterator[_PhoneHolder]:
    holder = _PhoneHolder(sandbox_stack)
    yield holder
    await holder.close()
    await asyncio.to_thread(local_speech().close)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _api(sandbox_stack: Stack) -> AsyncIterator[Any]:
    ends = sandbox_stack.endpoints
    async with api_client(
        ends.livekit_url, ends.api_key, ends.api_secret, sandbox_stack.timeline
    ) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def sandbox(
    request: pytest.FixtureRequest,
    sandbox_stack: Stack,
    _api: Any,
    _phone_holder: _PhoneHolder,
    _agent_host: AgentHost,
    sandbox_allowed_log_lines: Sequence[AllowedLine],
) -> AsyncIterator[Sandbox]:
    """One scenario's view of the stack: numbers, trunks, rules, rooms, calls and agents.

    Whatever the scenario made is taken down behind it; what could not be fails it. So does a
    broken invariant, unless the scenario has failed already.
    """
    artifacts = request.config.stash[_ARTIFACTS]
    phone = await _phone_holder.get()
    phone.capture = artifacts.captures
    artifacts.begin(request.node, sandbox_stack.timeline, sandbox_stack.endpoints)
    box = Sandbox(sandbox_stack, _api, phone, _agent_host, request.node.name)
    request.node.stash[_SANDBOX] = box
    yield box
    failed = True
    try:
        await box.close()
        if not request.node.stash.get(_FAILED, False):
            await _judge(request.node, box, sandbox_allowed_log_lines)
        failed = False
    except PhoneError:
        # The phone is gone: the test has failed by it already, and the next gets a new one.
        if not phone.closed:
            raise
    finally:
        await artifacts.settle(request.node, failed=failed)


#: Seconds that the clean-up on a stack of the test's own may take: its parts may be gone.
_PATIENCE = 20.0


@pytest.fixture
def sandbox_scenario(
    request: pytest.FixtureRequest,
) -> Callable[[Stack], AbstractAsyncContextManager[Sandbox]]:
    """What opens a scenario on a stack of the test's own.

    `async with sandbox_scenario(stack) as box:` has its clean-up, its verdict and its report, as
    `sandbox` has. The invariants are not judged: a stack of one's own is there to be broken.
    """
    artifacts = request.config.stash[_ARTIFACTS]
    item = request.node

    @asynccontextmanager
    async def scenario(stack: Stack) -> AsyncIterator[Sandbox]:
        ends, timeline = stack.endpoints, stack.timeline
        async with (
            api_client(ends.livekit_url, ends.api_key, ends.api_secret, timeline) as client,
            await Phone.connect(
                ends.phone_url, ends.phone_token, timeline, log_path=ends.run_dir / "phone.log"
            ) as phone,
        ):
            phone.capture = artifacts.captures
            artifacts.begin(item, timeline, ends)
            host = AgentHost(ends, timeline)
            box = item.stash[_SANDBOX] = Sandbox(stack, client, phone, host, item.name)
            failed = True
            try:
                yield box
                failed = item.stash.get(_FAILED, False)
            finally:
                try:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(box.close(), _PATIENCE)
                finally:
                    await host.stop()
                    await artifacts.settle(item, failed=failed)

    return scenario


def _allowances(item: pytest.Item) -> list[Allowance]:
    return [allowance(*mark.args, **mark.kwargs) for mark in item.iter_markers("sandbox_allow")]


async def _judge(item: pytest.Item, box: Sandbox, lines: Sequence[AllowedLine]) -> None:
    broken = await box.invariants.judge(_allowances(item), lines)
    if broken:
        raise InvariantBroken(item.name, broken, evidence=str(box.endpoints.run_dir))


@pytest_asyncio.fixture(loop_scope="session")
async def agent(sandbox: Sandbox) -> Agent:
    """A registered worker with a name of its own, that answers with a tone of 700 Hz."""
    return await sandbox.agent()


@pytest.fixture
def assert_ladder(request: pytest.FixtureRequest) -> Callable[..., Awaitable[None]]:
    """Compares a call with its golden ladder (docs/ladders.md).

    `await assert_ladder(call, "name")` reads the file `ladders/name.txt` beside the test's;
    `--sandbox-update-golden` writes it. The call must be over or about to end.
    `headers=["Reason"]` has those headers compared too.
    """

    async def compare(call: Call, name: str, *, headers: Sequence[str] = ()) -> None:
        ladder = await call.whole_ladder(headers=headers)
        ladder.matches_golden(
            request.path.parent / "ladders" / f"{name}.txt",
            update=bool(request.config.getoption("--sandbox-update-golden")),
        )

    return compare


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(name: str, obj: object) -> None:
    """Run coroutine tests that ask for `sandbox`, `agent` and the like on the session's loop.

    The stack, its API client and its phone live on that loop. So a project needs no asyncio
    configuration of its own; a mark that it sets itself is left alone.
    """
    if not inspect.iscoroutinefunction(obj) or not name.startswith("test"):
        return
    marks = [mark.name for mark in getattr(obj, "pytestmark", [])]
    wanted = {"sandbox", "agent", "sandbox_stack", "sandbox_scenario"}
    if "asyncio" not in marks and wanted & set(inspect.signature(obj).parameters):
        pytest.mark.asyncio(loop_scope="session")(obj)


# --- which tests run on which SIP service, and what a failing one shows -------------------------


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the scenarios that are marked for the other SIP service; check the opt-outs."""
    for item in items:
        try:
            _allowances(item)
        except (UsageError, TypeError) as error:
            raise pytest.UsageError(f"{item.nodeid}: {error}") from None
    marked = [
        item
        for item in items
        if any(item.iter_markers("only_livekit_sip")) or any(item.iter_markers("only_stand_in"))
    ]
    counts = config.stash[_COUNTS]
    for name in ("only_livekit_sip", "only_stand_in"):
        counts[name] = sum(1 for item in items if any(item.iter_markers(name)))
    if not marked:
        return
    stand_in = _sip_label(config).startswith("stand-in")
    for item in marked:
        unfit = "only_livekit_sip" if stand_in else "only_stand_in"
        for mark in item.iter_markers(unfit):
            reason = mark.kwargs.get("reason") or (mark.args[0] if mark.args else "")
            if not reason:
                raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.{unfit} needs a reason")
            item.add_marker(pytest.mark.skip(reason=f"{unfit}: {reason}"))


#: What a traceback to an error of ours goes through besides lines of the user's.
_NOT_THE_USERS = tuple(
    Path(str(module.__file__)).parent for module in (errors, asyncio, pytest_asyncio)
)


def _hide_our_frames(error: pytest.ExceptionInfo[BaseException]) -> None:
    """Let the traceback of an error of ours end at the user's own line; the error says the rest.

    `--full-trace` shows all frames, as ever.
    """
    if isinstance(error.value, SandboxError):
        for entry in error.traceback:
            if any(Path(entry.path).is_relative_to(folder) for folder in _NOT_THE_USERS):
                entry.frame.f_locals["__tracebackhide__"] = True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Attach the ladders, the events and the log paths to a failing test."""
    if call.excinfo is not None:
        _hide_our_frames(call.excinfo)
    report = yield
    box = item.stash.get(_SANDBOX, None)
    if call.when == "call":
        item.stash[_FAILED] = report.failed
    if box is not None and report.failed:
        for title, text in failure_sections(box.timeline.since(box.mark), box.endpoints):
            report.sections.append((f"sandbox: {title}", text))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Name the engine and the SIP service in the JUnit file, whoever reads it later."""
    coverage = session.config.stash[_COVERAGE]
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["sandbox_coverage"] = coverage.to_json()
        return
    # Not the fixture record_testsuite_property: under xdist it writes into the workers' nowhere.
    from _pytest.junitxml import xml_key

    xml = session.config.stash.get(xml_key, None)
    if xml is None:
        return
    from sandbox.stack.stack import choose_engine

    engine, _ = choose_engine(session.config.getoption("--sandbox-engine"))
    xml.add_global_property("sandbox.engine", engine)
    xml.add_global_property("sandbox.sip_service", _sip_label(session.config))
    xml.add_global_property("sandbox.api_coverage", f"{coverage.percent:.1f}")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how many scenarios are bound to one SIP service."""
    report = config.getoption("--sandbox-coverage")
    coverage = config.stash[_COVERAGE]
    if report and coverage.used:
        terminalreporter.section("SIP API coverage")
        for table in coverage.tables():
            total = len(table.covered) + len(table.missing)
            terminalreporter.write_line(
                f"{table.section:<14} {len(table.covered):>4} of {total:<4} {table.percent:5.1f} %"
                + (f"   ({len(table.cloud)} only on LiveKit Cloud)" if table.cloud else "")
            )
            if report == "missing":
                for name in table.missing:
                    terminalreporter.write_line(f"{'':<14}   {name}")
    counts = config.stash.get(_COUNTS, {})
    if any(counts.values()):
        terminalreporter.write_line(
            f"sandbox: {counts['only_livekit_sip']} scenarios only on livekit-sip, "
            f"{counts['only_stand_in']} only on the stand-in"
        )
