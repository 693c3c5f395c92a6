"""psycopg 3 with its defaults: statements are prepared from their fifth use on, transactions open by themselves."""

import asyncio
import datetime
import decimal
import threading
import time
import uuid

import psycopg
import psycopg.types.composite
import psycopg.types.enum
import psycopg_pool
from psycopg.types.json import Jsonb

from checks import Checks, equal, raises

checks = Checks(f"psycopg {psycopg.__version__}")
CLIENTS = 24


def connect(**more):
    return psycopg.connect(**more)


@checks.add("values of all kinds come back as they went, as text and in binary")
def _():
    values = [
        7, 2**40, True, None, "ä€😀'\\", decimal.Decimal("123.4500"), 1.5e300, b"\0\1\xff",
        datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, datetime.timezone.utc), datetime.date(1, 1, 1),
        datetime.timedelta(days=3, seconds=4), uuid.UUID(int=5), [1, None, 3], ["a", "b,\"c"],
    ]
    types = "int bigint bool text text numeric float8 bytea timestamptz date interval uuid int[] text[]".split()
    sql = "select " + ", ".join(f"%s::{kind}" for kind in types) + ", %s::jsonb"
    with connect() as conn:
        for binary in (False, True):
            with conn.cursor(binary=binary) as cur:
                for _ in range(8):
                    row = cur.execute(sql, [*values, Jsonb({"a": [1, None, "ä"]})]).fetchone()
                    equal(list(row), [*values, {"a": [1, None, "ä"]}])


@checks.add("types of one's own")
def _():
    import enum

    mood = enum.Enum("mood", {"sad": "sad", "ok": "ok", "happy": "happy"})
    with connect() as conn:
        psycopg.types.enum.register_enum(psycopg.types.enum.EnumInfo.fetch(conn, "mood"), conn, mood)
        psycopg.types.composite.register_composite(psycopg.types.composite.CompositeInfo.fetch(conn, "point3"), conn)
        for _ in range(8):
            row = conn.execute("select %s::mood, row(1, 2, 'z')::point3", [mood.happy]).fetchone()
            equal((row[0], row[1].z), (mood.happy, "z"))


@checks.add("more clients than server connections, all in transactions and with prepared statements")
def _():
    errors = []

    def work(pool, worker):
        try:
            for n in range(20):
                with pool.connection() as conn:
                    conn.execute("insert into items (worker, n, note) values (%s, %s, %s)", [worker, n, f"w{worker}-{n}"])
                    row = conn.execute("select note from items where worker = %s and n = %s", [worker, n]).fetchone()
                    equal(row[0], f"w{worker}-{n}")
                with pool.connection() as conn, conn.transaction():
                    low, high = sorted([worker % 10 + 1, n % 10 + 1])
                    if low != high:
                        conn.execute("update accounts set balance = balance - 1 where id = %s", [low])
                        conn.execute("update accounts set balance = balance + 1 where id = %s", [high])
                    if n % 5 == 0:
                        raise psycopg.Rollback()
        except Exception as error:
            errors.append(error)

    with psycopg_pool.ConnectionPool(min_size=CLIENTS, max_size=CLIENTS) as pool:
        threads = [threading.Thread(target=work, args=(pool, worker)) for worker in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    with connect() as conn, conn.transaction():
        equal(conn.execute("select count(*), count(distinct note) from items").fetchone(), (CLIENTS * 20, CLIENTS * 20))
        equal(conn.execute("select sum(balance)::int from accounts").fetchone(), (10_000,))


@checks.add("reads outside of transactions see the client's own writes")
def _():
    with connect(autocommit=True) as conn:
        conn.execute("create table own (n int)")
        for n in range(50):
            conn.execute("insert into own values (%s)", [n])
            equal(conn.execute("select count(*) from own").fetchone(), (n + 1,))


@checks.add("transactions, savepoints, and errors in them")
def _():
    with connect() as conn:
        with conn.transaction():
            conn.execute("create table tx (a int primary key)")
            conn.execute("insert into tx values (1)")
            raises(psycopg.errors.UniqueViolation, lambda: savepoint(conn))
            conn.execute("insert into tx values (2)")
        equal(conn.execute("select array_agg(a order by a) from tx").fetchone(), ([1, 2],))
        conn.rollback()
        raises(psycopg.errors.DivisionByZero, conn.execute, "select 1/0")
        raises(psycopg.errors.InFailedSqlTransaction, conn.execute, "select 1")
        conn.rollback()
        conn.execute("insert into tx values (3)")
        conn.rollback()
        equal(conn.execute("select count(*) from tx").fetchone(), (2,))


def savepoint(conn):
    with conn.transaction():
        conn.execute("insert into tx values (5)")
        conn.execute("insert into tx values (1)")


@checks.add("isolation levels, read-only and deferrable transactions")
def _():
    with connect() as conn:
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        equal(conn.execute("show transaction_isolation").fetchone(), ("serializable",))
        conn.rollback()
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        equal(conn.execute("show transaction_isolation").fetchone(), ("repeatable read",))
        raises(psycopg.errors.ReadOnlySqlTransaction, conn.execute, "insert into items (worker, n) values (-1, 1)")


@checks.add("COPY in and out, as text and in binary")
def _():
    rows = [(n, f"note\t{n}\n", bytes([n % 256]) * 100) for n in range(5000)]
    for form in ("", "(format binary)"):
        with connect() as conn, conn.cursor() as cur:
            cur.execute("truncate copied")
            with cur.copy(f"copy copied from stdin {form}") as copy:
                copy.set_types(["int4", "text", "bytea"])
                for row in rows:
                    copy.write_row(row)
            equal(cur.rowcount, 5000)
            with cur.copy(f"copy (select * from copied order by id) to stdout {form}") as copy:
                copy.set_types(["int4", "text", "bytea"])
                equal(list(copy.rows()), rows)
    with connect() as conn:
        equal(str(raises(Exception, broken_copy, conn)), "broken")
        conn.rollback()
        equal(conn.execute("select count(*) from copied").fetchone(), (5000,))


def broken_copy(conn):
    with conn.cursor().copy("copy copied from stdin") as copy:
        copy.write_row((9999, "x", b""))
        raise Exception("broken")


@checks.add("LISTEN and NOTIFY")
def _():
    with connect(autocommit=True) as listener, connect(autocommit=True) as other:
        listener.execute("listen driver_psycopg")
        for n in range(5):
            other.execute("select pg_notify('driver_psycopg', %s)", [str(n)])
        equal([n.payload for n in listener.notifies(timeout=20, stop_after=5)], list("01234"))
        listener.execute("unlisten *")
        equal(listener.execute("select 1").fetchone(), (1,))


@checks.add("cancellation reaches the statement, and the connection goes on")
def _():
    with connect(autocommit=True) as conn:
        for cancel in (conn.cancel, conn.cancel_safe):
            timer = threading.Timer(0.5, cancel)
            timer.start()
            raises(psycopg.errors.QueryCanceled, conn.execute, "select pg_sleep(30)")
            timer.join()
            equal(conn.execute("select 5").fetchone(), (5,))


@checks.add("large results, at once and through cursors on the server")
def _():
    series = "select n, repeat('x', 500) from generate_series(1, 40000) n"
    with connect() as conn:
        equal(len(conn.execute(series).fetchall()), 40000)
        with conn.cursor(name="big") as cur:
            cur.execute(series)
            equal(cur.fetchmany(10)[9][0], 10)
            equal(sum(1 for _ in cur), 39990)
        with conn.cursor(name="scrolled", scrollable=True) as cur:
            cur.execute(series)
            cur.scroll(100, mode="absolute")
            equal(cur.fetchone()[0], 101)
        with conn.cursor() as cur:
            equal(sum(1 for _ in cur.stream(series)), 40000)
    with connect(autocommit=True) as conn, conn.cursor(name="held", withhold=True) as cur:
        cur.execute(series)
        equal(sum(1 for _ in cur), 40000)


@checks.add("pipelines, with an error in the middle")
def _():
    with connect(autocommit=True) as conn:
        for _ in range(8):
            with conn.pipeline():
                cursors = [conn.execute("select %s::int", [n]) for n in range(50)]
            equal([cur.fetchone()[0] for cur in cursors], list(range(50)))
        error = raises(psycopg.errors.DivisionByZero, broken_pipeline, conn)
        assert error.sqlstate == "22012"
        equal(conn.execute("select 1").fetchone(), (1,))
        with conn.cursor() as cur:
            cur.executemany("insert into own values (%s) returning n", [[n] for n in range(100)], returning=True)
            equal(cur.fetchone(), (0,))


def broken_pipeline(conn):
    with conn.pipeline() as pipeline:
        conn.execute("select 1")
        conn.execute("select 1 / %s", [0])
        conn.execute("select 2")
        pipeline.sync()


@checks.add("settings, temporary tables and advisory locks stay with their client")
def _():
    with connect(autocommit=True) as one, connect(autocommit=True, options="-c work_mem=9MB") as two:
        one.execute("set work_mem = '7MB'")
        one.execute("set time zone 'Asia/Tokyo'")
        one.execute("create temp table mine (a int)")
        one.execute("select pg_advisory_lock(1)")
        for _ in range(8):
            equal(one.execute("show work_mem").fetchone(), ("7MB",))
            equal(two.execute("show work_mem").fetchone(), ("9MB",))
            equal(one.execute("select count(*) from mine").fetchone(), (0,))
            equal(two.execute("select to_regclass('pg_temp.mine')").fetchone(), (None,))
            equal(two.execute("select pg_try_advisory_lock(1)").fetchone(), (False,))
        equal(one.info.timezone.key, "Asia/Tokyo")
        one.execute("select pg_advisory_unlock(1)")


@checks.add("errors carry what the server said about them")
def _():
    with connect(autocommit=True) as conn:
        error = raises(psycopg.errors.UniqueViolation, conn.execute, "insert into accounts values (1, 0)")
        equal((error.diag.table_name, error.diag.constraint_name), ("accounts", "accounts_pkey"))
        error = raises(psycopg.errors.UndefinedColumn, conn.execute, "select nonsense from items")
        equal(error.diag.statement_position, "8")
        notices = []
        conn.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        conn.execute("do $$ begin raise notice 'look'; end $$")
        equal(notices, ["look"])


@checks.add("a table that changes under prepared statements")
def _():
    with connect(autocommit=True) as conn:
        conn.execute("create table changing (a int)")
        for _ in range(10):
            conn.execute("insert into changing values (%s)", [1])
            conn.execute("select * from changing where a = %s", [1])
        conn.execute("alter table changing add b text default 'x'")
        # In a transaction, which may write: another client's read outside of one may lag behind.
        with connect() as other:
            for _ in range(10):
                equal(other.execute("select * from changing where a = %s", [1]).fetchone(), (1, "x"))


@checks.add("asynchronous connections and their pool")
async def _():
    async with psycopg_pool.AsyncConnectionPool(min_size=CLIENTS, max_size=CLIENTS, open=False) as pool:

        async def work(worker):
            for n in range(20):
                async with pool.connection() as conn:
                    cur = await conn.execute("select %s::int, pg_backend_pid() > 0", [worker * 100 + n])
                    equal(await cur.fetchone(), (worker * 100 + n, True))

        await asyncio.gather(*[work(worker) for worker in range(CLIENTS)])
        async with pool.connection() as conn:
            sleeper = asyncio.create_task(conn.execute("select pg_sleep(30)"))
            await asyncio.sleep(0.3)
            sleeper.cancel()
            begun = time.monotonic()
            try:
                await sleeper
            except (asyncio.CancelledError, psycopg.errors.QueryCanceled):
                pass
            assert time.monotonic() - begun < 20, "the statement was not cancelled"


if __name__ == "__main__":
    checks.main()
