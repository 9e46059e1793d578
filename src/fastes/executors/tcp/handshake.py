"""From a new connection to one that serves, as one state machine for each side, without I/O or clock.

    worker                               coordinator
    Hello                      ->
                               <-        Challenge          proves that the coordinator has the token
    Proof, Identity            ->                           proves that the worker has; all is sealed from here on
                               <-        Setup              if versions, noise and kernels agree
    ... allows, imports, builds; Beats go both ways ...
    Ready                      ->                           layout, tables, sources, forward pass
                               <-        snapshot, commits, leases if these agree, else Bye

On a connection that serves, another Setup may come instead of a lease: the worker builds that run and is Ready again.

Either side ends it with a Bye that says why. The owner of a machine sends what its methods give, closes after a
`ProtocolError` when it has sent its `farewell`, and closes when `limits.HANDSHAKE_S` or `BUILD_S` have passed.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from fastes.executors.tcp.agreement import Difference, of_built, of_identities
from fastes.executors.tcp.allow import Allowed, Reference
from fastes.executors.tcp.auth import NONCE_BYTES, Greeting, Keys, Side, Token
from fastes.executors.tcp.decoder import Decoder, Encoder
from fastes.executors.tcp.fingerprint import read_table
from fastes.executors.tcp.frames import Buffer
from fastes.executors.tcp.limits import BYE_TEXT, RunNumbers
from fastes.executors.tcp.refusals import TOLERABLE, Code, ProtocolError, in_a_line, printable
from fastes.executors.tcp.wire import (
    Beat,
    Bye,
    Challenge,
    Failed,
    Hello,
    Identity,
    Message,
    Phase,
    Proof,
    Ready,
    Setup,
    Watch,
)

PROTOCOL_LEAST = 1
PROTOCOL_MOST = 2  # in which a connection may go on with another run

TABLES = ("problem", "policy", "algorithm", "optimizer")


def run_numbers(setup: Setup) -> RunNumbers:
    """The sizes by which messages of this run are checked."""
    sizes = setup.observation, setup.behaviour, setup.transition
    return RunNumbers(setup.members, setup.unit_size, setup.dim, *sizes)


def farewell(encoder: Encoder, error: ProtocolError) -> bytes:
    """The Bye to send before closing; nothing where the peer was the one to end it."""
    if not error.ours:
        return b""
    reason = printable(error.text, BYE_TEXT).encode("ascii", "replace").decode("ascii")
    return encoder.encode(Bye(error.code.value, reason))


def ended_by(bye: Bye, who: str) -> ProtocolError:
    """The error that a peer's Bye means here. A code that this version does not know is not tried again."""
    code = Code(bye.code) if bye.code in set(Code) else Code.PROTOCOL
    return ProtocolError(code, f"the {who} ended the connection: {in_a_line(bye.reason, BYE_TEXT)}", ours=False)


class WorkerHandshake:
    """The worker's side. Send `begin()`, `feed` what arrives until there is a `setup`, build, send `ready(...)`.

    From `setup` on, messages are taken from `decoder`; what is sent goes through `encoder`.
    """

    def __init__(
        self,
        token: Token,
        identity: Identity | Watch,
        allowed: Allowed,
        *,
        binding: bytes | None = None,
        run: str | None = None,
        nonce: bytes | None = None,
    ) -> None:
        """identity: a Watch for who only wants to see Status messages, which are in `decoder` when it is `watching`;
        binding: `auth.binding_to` the server's certificate under TLS, None without TLS; run: the only one to take part
        in, None for any; nonce: 32 random bytes, given by tests only.
        """
        self._token = token
        self._identity = identity
        self._allowed = allowed
        self._binding = binding
        self._run = run
        self._nonce = nonce or secrets.token_bytes(NONCE_BYTES)
        self.decoder = Decoder(Side.COORDINATOR)
        self.encoder = Encoder(Side.WORKER)
        self.watching = False
        self.setup: Setup | None = None
        self.tables: dict[str, dict[str, Any]] = {}
        self.references: list[Reference] = []  # all allowed; `Allowed.check_imported` before they are called

    def begin(self) -> bytes:
        """What the worker sends first."""
        tls = self._binding is not None
        return self.encoder.encode(Hello(PROTOCOL_LEAST, PROTOCOL_MOST, bool(self._token), tls, self._nonce))

    def feed(self, data: Buffer) -> bytes:
        """What to send in answer; when it is done, there is a `setup`. Raises ProtocolError if it has failed."""
        self.decoder.push(data)
        answer = b""
        with _last_fault(self.decoder):
            while not self.watching and self.setup is None and (message := self.decoder.next()) is not None:
                answer += self._taken(message)
        return answer

    def ready(self, built: Ready) -> bytes:
        """What to send when the run was built."""
        assert self.setup is not None
        self.decoder.enter(Phase.SERVING, run_numbers(self.setup))
        return self.encoder.encode(built)

    def _taken(self, message: Message) -> bytes:
        if isinstance(message, Bye):
            raise ended_by(message, "coordinator")
        if isinstance(message, Challenge):
            return self._proved(message)
        assert isinstance(message, Setup)
        self.take(message)
        return b""

    def take(self, message: Setup) -> None:
        """The run to build next. Raises ProtocolError if this worker may not."""
        if self._run is not None and message.run != self._run:
            raise ProtocolError(
                Code.RUN, f"the coordinator runs {message.run!r}, and this worker was started for {self._run!r} only."
            )
        tables = {name: read_table(getattr(message, name), name) for name in TABLES}
        self.references = self._allowed.check(tables)
        self.tables, self.setup = tables, message
        self.decoder.enter(Phase.BUILD)

    def _proved(self, challenge: Challenge) -> bytes:
        _check_tokens(coordinator=challenge.token, worker=bool(self._token))
        if not PROTOCOL_LEAST <= challenge.chosen <= PROTOCOL_MOST:
            raise ProtocolError(
                Code.PROTOCOL,
                f"the coordinator chose protocol version {challenge.chosen}, and this worker speaks {PROTOCOL_LEAST} "
                f"to {PROTOCOL_MOST}.",
            )
        keys = Keys(
            self._token,
            Greeting(PROTOCOL_LEAST, PROTOCOL_MOST, challenge.chosen, self._binding, self._nonce, challenge.nonce),
        )
        if not keys.proves(Side.COORDINATOR, challenge.proof):
            raise _other_token("coordinator")
        proof = self.encoder.encode(Proof(keys.proof(Side.WORKER)))
        if self._binding is None:
            self.encoder.seal(keys)
        self.watching = isinstance(self._identity, Watch)
        following = Phase.WATCHING if self.watching else Phase.IDENTITY
        self.decoder.enter(following, keys=keys if self._binding is None else None)
        return proof + self.encoder.encode(self._identity)


class CoordinatorHandshake:
    """The coordinator's side of one connection. `feed` what arrives until `done`; then messages are taken from
    `decoder`, and what is sent goes through `encoder`.
    """

    def __init__(
        self,
        token: Token,
        identity: Identity,
        setup: Setup,
        built: Ready,
        *,
        binding: bytes | None = None,
        tolerate: Collection[Code] = (),
        nonce: bytes | None = None,
    ) -> None:
        """identity, built: of the coordinator itself, with which workers have to agree; tolerate: differences to let
        pass, of `TOLERABLE`; binding, nonce: as the worker's. Raises ValueError for others.
        """
        if not TOLERABLE.issuperset(tolerate):
            known, found = (", ".join(sorted(codes)) for codes in (TOLERABLE, tolerate))
            raise ValueError(f"only {known} can be tolerated, not {found}.")
        self._token = token
        self._ours = identity
        self._setup = setup
        self._built = built
        self._binding = binding
        self._tolerate = frozenset(tolerate)
        self._nonce = nonce or secrets.token_bytes(NONCE_BYTES)
        self._keys: Keys | None = None
        self.decoder = Decoder(Side.WORKER)
        self.encoder = Encoder(Side.COORDINATOR)
        self.phase = Phase.HELLO
        self.is_left_behind = False  # whether it was to be given another run, and does not know of that
        self._chosen = PROTOCOL_MOST
        self._unready = 0  # Setups that were sent and are not answered by a Ready
        self._told = setup  # the last that was answered, or the first
        self.identity: Identity | None = None
        self.ready: Ready | None = None
        self.heard = 0  # number of the worker's last Beat while it builds
        self.notes: list[str] = []  # differences that were tolerated

    @property
    def authenticated(self) -> bool:
        """Whether the worker has proved the token: before, the connection counts to `limits.UNAUTHENTICATED`."""
        return self.phase not in (Phase.HELLO, Phase.PROOF)

    @property
    def done(self) -> bool:
        """Whether the worker may be given leases."""
        return self.phase is Phase.SERVING

    def feed(self, data: Buffer) -> bytes:
        """What to send in answer. Raises ProtocolError if the worker is refused."""
        self.decoder.push(data)
        answer = b""
        with _last_fault(self.decoder):
            while not self.done and (message := self.decoder.next()) is not None:
                answer += self._taken(message)
        return answer

    def another(self, setup: Setup, built: Ready, tolerate: Collection[Code]) -> bytes:
        """From here on the connection is for another run. Gives what to send: a Setup, if there was one before."""
        self._setup, self._built, self._tolerate = setup, built, frozenset(tolerate)
        if self._unready == 0 and self.phase is not Phase.SERVING:
            return b""
        if self._chosen < 2:
            self.is_left_behind = True
            return b""
        self.ready, self.notes = None, []
        self._unready += 1
        self.phase = Phase.AGAIN
        self.decoder.enter(Phase.AGAIN, run_numbers(self._told))
        return self.encoder.encode(setup)

    @property
    def watching(self) -> bool:
        """Whether this is no worker, and wants Status messages."""
        return self.phase is Phase.WATCHING

    def _taken(self, message: Message) -> bytes:
        match message:
            case Bye():
                raise ended_by(message, "worker")
            case Hello():
                return self._challenged(message)
            case Proof():
                return self._authenticated(message)
            case Identity():
                return self._set_up(message)
            case Watch():
                self._enter(Phase.WATCHING)
            case Ready():
                self._unready -= 1
                if self._unready == 0:  # else it answers an earlier Setup
                    self._judge(of_built(self._built, message))
                    self.ready, self._told = message, self._setup
                    self._enter(Phase.SERVING)
            case Failed(unit=None):
                raise ProtocolError(
                    Code.BUILD, f"the worker could not build the run: {in_a_line(message.text, BYE_TEXT)}", ours=True
                )
            case Beat():
                self.heard = message.number
        return b""

    def _challenged(self, hello: Hello) -> bytes:
        chosen = self._chosen = min(hello.most, PROTOCOL_MOST)
        if chosen < max(hello.least, PROTOCOL_LEAST):
            raise ProtocolError(
                Code.PROTOCOL,
                f"the coordinator speaks protocol versions {PROTOCOL_LEAST} to {PROTOCOL_MOST}, the worker "
                f"{hello.least} to {hello.most}. Install the same version of fastes on both.",
            )
        if hello.tls != (self._binding is not None):
            raise ProtocolError(
                Code.TLS,
                f"the worker {'uses' if hello.tls else 'does not use'} TLS and the coordinator "
                f"{'does not' if hello.tls else 'does'}: something between them changes that. Connect directly.",
            )
        _check_tokens(coordinator=bool(self._token), worker=hello.token)
        greeting = Greeting(hello.least, hello.most, chosen, self._binding, hello.nonce, self._nonce)
        self._keys = Keys(self._token, greeting)
        proof = self._keys.proof(Side.COORDINATOR)
        answer = self.encoder.encode(Challenge(chosen, bool(self._token), self._nonce, proof))
        if self._binding is None:
            self.encoder.seal(self._keys)
        self._enter(Phase.PROOF)
        return answer

    def _authenticated(self, message: Proof) -> bytes:
        assert self._keys is not None
        if not self._keys.proves(Side.WORKER, message.proof):
            raise _other_token("worker")
        self._enter(Phase.IDENTITY, self._keys if self._binding is None else None)
        return b""

    def _set_up(self, identity: Identity) -> bytes:
        self.identity = identity
        self._judge(of_identities(self._ours, identity))
        self._unready, self._told = 1, self._setup
        self._enter(Phase.BUILD)
        return self.encoder.encode(self._setup)

    def _enter(self, phase: Phase, keys: Keys | None = None) -> None:
        self.phase = phase
        self.decoder.enter(phase, run_numbers(self._setup), keys)

    def agree(self, built: Ready) -> None:
        """Compares what the worker has built with this, if that is not what it was compared with. Raises as feeding."""
        assert self.ready is not None
        if built is not self._built:
            self._judge(of_built(built, self.ready))

    def _judge(self, differences: list[Difference]) -> None:
        """Raises ProtocolError with all that differs, under the code of the first, but for what is tolerated."""
        self.notes += [text for code, text in differences if code in self._tolerate]
        fatal = [(code, text) for code, text in differences if code not in self._tolerate]
        if fatal:
            raise ProtocolError(fatal[0][0], " ".join(text for _, text in fatal))


def setup_for(setup: Setup, worker: int) -> Setup:
    """The same run for another worker. worker: its number in the coordinator's log."""
    return msgspec.structs.replace(setup, worker=worker)


@contextlib.contextmanager
def _last_fault(decoder: Decoder) -> Iterator[None]:
    """After a fault nothing is taken any more: one connection is one try at the token."""
    try:
        yield
    except ProtocolError:
        decoder.kill()
        raise


def _check_tokens(*, coordinator: bool, worker: bool) -> None:
    if coordinator == worker:
        return
    has, lacks = ("coordinator", "worker") if coordinator else ("worker", "coordinator")
    raise ProtocolError(
        Code.TOKEN, f"the {has} has a token and the {lacks} has none. Start both with the same --token-file."
    )


def _other_token(who: str) -> ProtocolError:
    return ProtocolError(
        Code.TOKEN,
        f"the {who} has another token, or something stands between. Start both with the same --token-file, or the same "
        "FASTES_TOKEN.",
    )
