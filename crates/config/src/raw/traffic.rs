//! Bounds and preferences for what passes through.

use pool::{CommitResolution, PoolMode, StatePolicy};
use routing::{ReadOnlyFallback, ReadYourWrites};

use crate::{
    section::{Preset::Text, Preset::Unset, section},
    value::{Count, FunctionName, List, OneOf, Size, Time},
};

/// A day in milliseconds.
const DAY: u64 = 86_400_000;

/// A gibibyte in bytes.
const GIB: u64 = 1 << 30;

section! {
    /// Server connections. One pool is those of one database and user on one node.
    Pool, "pool", repeated: false {
        /// When a server connection goes back: "transaction" (at its end), "session" (when the client leaves) or
        /// "statement" (at its end; transactions of several statements are refused with 0A000).
        mode: OneOf<PoolMode> = Text("transaction"), Reload;
        /// Most server connections of one pool.
        size: Count<1, 100_000> = Text("20"), Reload;
        /// Server connections of one pool that are kept even when idle.
        min_size: Count<0, 100_000> = Text("0"), Reload;
        /// Server connections of one pool beyond size, for when a client has waited for reserve_timeout.
        reserve_size: Count<0, 100_000> = Text("0"), Reload;
        /// How long the first client in the queue waits before the reserve is used.
        reserve_timeout: Time<0, DAY> = Text("5s"), Reload;
        /// How long a client waits for a server connection.
        wait_timeout: Time<1, DAY> = Text("30s"), Reload;
        /// Most clients that wait for one pool.
        max_waiting: Count<0, 1_000_000> = Text("10000"), Reload;
        /// A server connection is retired at this age, less up to a tenth by chance.
        server_lifetime: Time<1000, { 30 * DAY }> = Text("1h"), Reload;
        /// An idle server connection beyond min_size is closed after this time.
        server_idle_timeout: Time<1000, { 30 * DAY }> = Text("10min"), Reload;
        /// How long dialing a server and logging in may take.
        connect_timeout: Time<1, 600_000> = Text("5s"), Reload;
        /// With mode = "transaction", what becomes of statements that leave something behind which only their server
        /// connection has, such as a temporary table or an advisory lock: "pin" (the client keeps the connection
        /// until that is gone), "refuse" (0A000) or "allow" (it stays behind for whoever comes next).
        session_state: OneOf<StatePolicy> = Text("pin"), Reload;
        /// Most connections of one pool that clients keep in this way. One more statement that would waits for one of
        /// them, for at most wait_timeout, and then fails with 53400; within a transaction, and with 0, at once. Three
        /// quarters of size if it is not set.
        max_pinned: Option<Count<0, 100_000>> = Unset("15"), Reload;
        /// Most prepared statements that are kept on one server connection.
        max_prepared_statements: Count<1, 100_000> = Text("200"), Reload;
        /// What a client is told whose server is lost after it was sent the COMMIT of a transaction that wrote: what became
        /// of it, "xid" (the transaction is asked for its id beforehand, and the next primary for the id's status; until
        /// there is one the client waits, for at most max_hold), or that this is not known, "off" (08007).
        commit_resolution: OneOf<CommitResolution> = Text("xid"), Reload;
        /// A statement that runs for longer is cancelled, and fails with 57014. 0s: no limit.
        query_timeout: Time<0, { 30 * DAY }> = Text("0s"), Reload;
        /// A client that is idle in a transaction for longer is disconnected with 25P03; the transaction is rolled
        /// back. 0s: no limit.
        idle_transaction_timeout: Time<0, { 30 * DAY }> = Text("0s"), Reload;
        /// A client that is idle outside a transaction for longer is disconnected with 57P05. 0s: no limit.
        client_idle_timeout: Time<0, { 30 * DAY }> = Text("0s"), Reload;
    }
}

section! {
    /// Clients, and how long they are held.
    Session, "session", repeated: false {
        /// Most clients at a time; one more is refused with 53300.
        max_clients: Count<1, 1_000_000> = Text("10000"), Reload;
        /// From accept to the end of login.
        login_timeout: Time<100, 600_000> = Text("15s"), Reload;
        /// How long requests wait for a primary that is gone.
        max_hold: Time<0, DAY> = Text("30s"), Reload;
        /// Most clients that are held at a time; the newest is refused with 57P03.
        max_held: Count<0, 1_000_000> = Text("10000"), Reload;
        /// Most bytes that are kept of one client's unforwarded input.
        input_limit: Size<16_384, GIB> = Text("1MB"), Reload;
        /// Most bytes that are kept of notifications (LISTEN) which one client has not read yet. Further ones are
        /// dropped, and the client is told how many by a WARNING.
        notification_limit: Size<16_384, GIB> = Text("1MB"), Reload;
        /// Most named prepared statements of one client; one more is refused with 53400.
        max_statements: Count<1, 1_000_000> = Text("100000"), Reload;
        /// Most bytes of one client's named prepared statements, as if it shared them with nobody; beyond that they are
        /// refused with 53400.
        max_statement_bytes: Size<16_384, GIB> = Text("64MB"), Reload;
        /// How long in-flight statements may finish on a primary that was replaced.
        drain_timeout: Time<0, DAY> = Text("3s"), Reload;
        /// How long a shutdown goes on to take clients in after /readyz says that it should get no more: as long as load
        /// balancers take to notice.
        shutdown_delay: Time<0, 3_600_000> = Text("0s"), Reload;
        /// How long clients may stay with a process whose sockets another one has taken over; then it shuts down. 0s:
        /// until they leave.
        takeover_timeout: Time<0, { 30 * DAY }> = Text("0s"), Reload;
        /// How long a shutdown waits for open transactions.
        shutdown_timeout: Time<0, DAY> = Text("30s"), Reload;
    }
}

section! {
    /// How reads find their replica.
    Routing, "routing", repeated: false {
        /// A replica that is further behind, in bytes of WAL, is not read from.
        max_lag_bytes: Size<0, { 1 << 50 }> = Text("16MB"), Reload;
        /// A replica that is further behind, in time, is not read from.
        max_lag: Time<0, { 30 * DAY }> = Text("10s"), Reload;
        /// A replica whose last answer to a probe is older is not read from.
        max_sample_age: Time<1, DAY> = Text("3s"), Reload;
        /// "session" (a session's reads see its own writes) or "off" (they may miss them, within the lag bounds).
        read_your_writes: OneOf<ReadYourWrites> = Text("session"), Reload;
        /// Where reads under the policies "read-only", "sync" and "async" go when no replica is fit: "primary", "hold" (they
        /// wait for one, for session.max_hold at most) or "refuse".
        read_only_fallback: OneOf<ReadOnlyFallback> = Text("primary"), Reload;
        /// Functions that write although they do not look it; statements that call them go to the primary.
        primary_functions: List<FunctionName> = Text(""), Reload;
        /// Functions that are safe on a replica although they are volatile.
        replica_functions: List<FunctionName> = Text(""), Reload;
    }
}
