"""asyncpg with its defaults: every statement is prepared and cached, and a pool resets each connection it gets back."""

import asyncio
import datetime
import decimal
import io
import json
import uuid

import asyncpg

from checks import Checks, equal

checks = Checks(f"asyncpg {asyncpg.__version__}")
CLIENTS = 24


async def fails(kind, awaitable):
    """Fails unless it raises an exception of this kind; gives it."""
    try:
        await awaitable
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


@checks.add("values of all kinds come back as they went")
async def _():
    values = [
        7, 2**40, True, None, "ä€😀'\\", decimal.Decimal("123.4500"), 1.5e300, b"\0\1\xff",
        datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, datetime.timezone.utc), datetime.date(1, 1, 1),
        datetime.timedelta(days=3, seconds=4), uuid.UUID(int=5), [1, None, 3], ["a", "b,\"c"],
    ]
    types = "int bigint bool text text numeric float8 bytea timestamptz date interval uuid int[] text[]".split()
    sql = "select " + ", ".join(f"${n}::{kind}" for n, kind in enumerate(types, 1))
    conn = await asyncpg.connect()
    for _ in range(5):
        equal(list(await conn.fetchrow(sql, *values)), values)
    await conn.close()


@checks.add("types of one's own, which it looks up")
async def _():
    conn = await asyncpg.connect()
    await conn.set_type_codec("json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    for _ in range(5):
        row = await conn.fetchrow(
            "select $1::mood, $2::mood[], row(1, 2, 'z')::point3, $3::json", "happy", ["sad", "ok"], {"a": 1}
        )
        equal((row[0], row[1], row[2]["z"], row[3]), ("happy", ["sad", "ok"], "z", {"a": 1}))
    await conn.close()


@checks.add("more clients than server connections, all in transactions and with prepared statements")
async def _():
    async with asyncpg.create_pool(min_size=CLIENTS, max_size=CLIENTS) as pool:

        async def work(worker):
            for n in range(20):
                async with pool.acquire() as conn:
                    await conn.execute(
                        "insert into items (worker, n, note) values ($1, $2, $3)", worker, n, f"w{worker}-{n}"
                    )
                    note = await conn.fetchval("select note from items where worker = $1 and n = $2", worker, n)
                    equal(note, f"w{worker}-{n}")
                async with pool.acquire() as conn:
                    tr = conn.transaction()
                    await tr.start()
                    low, high = sorted([worker % 10 + 1, n % 10 + 1])
                    if low != high:
                        await conn.execute("update accounts set balance = balance - 1 where id = $1", low)
                        await conn.execute("update accounts set balance = balance + 1 where id = $1", high)
                    await (tr.rollback() if n % 5 == 0 else tr.commit())

        await asyncio.gather(*[work(worker) for worker in range(CLIENTS)])
        async with pool.acquire() as conn, conn.transaction():
            equal(await conn.fetchval("select count(distinct note) from items"), CLIENTS * 20)
            equal(await conn.fetchval("select sum(balance)::int from accounts"), 10_000)


@checks.add("many different statements, more than are kept")
async def _():
    async with asyncpg.create_pool(min_size=CLIENTS, max_size=CLIENTS) as pool:

        async def work(worker):
            for n in range(60):
                async with pool.acquire() as conn:
                    equal(await conn.fetchval(f"select $1::int + {n * 7 % 61}", worker), worker + n * 7 % 61)

        await asyncio.gather(*[work(worker) for worker in range(CLIENTS)])


@checks.add("reads outside of transactions see the client's own writes")
async def _():
    conn = await asyncpg.connect()
    await conn.execute("create table own (n int)")
    for n in range(50):
        await conn.execute("insert into own values ($1)", n)
        equal(await conn.fetchval("select count(*) from own"), n + 1)
    await conn.close()


@checks.add("transactions, savepoints, and errors in them")
async def _():
    conn = await asyncpg.connect()
    async with conn.transaction(isolation="serializable"):
        equal(await conn.fetchval("show transaction_isolation"), "serializable")
        await conn.execute("create table tx (a int primary key)")
        await conn.execute("insert into tx values ($1)", 1)
        try:
            async with conn.transaction():
                await conn.execute("insert into tx values ($1)", 5)
                await conn.execute("insert into tx values ($1)", 1)
            raise AssertionError("no UniqueViolationError")
        except asyncpg.UniqueViolationError as error:
            equal(error.constraint_name, "tx_pkey")
        await conn.execute("insert into tx values ($1)", 2)
    equal(await conn.fetchval("select array_agg(a order by a) from tx"), [1, 2])
    await fails(asyncpg.DivisionByZeroError, conn.fetchval("select 1 / $1::int", 0))
    await fails(asyncpg.PostgresSyntaxError, conn.execute("selec 1"))
    equal(await conn.fetchval("select $1::int", 5), 5)
    async with conn.transaction(readonly=True):
        await fails(asyncpg.ReadOnlySQLTransactionError, conn.execute("insert into tx values (9)"))
    await conn.close()


@checks.add("COPY in and out")
async def _():
    rows = [(n, f"note\t{n}\n", bytes([n % 256]) * 100) for n in range(5000)]
    conn = await asyncpg.connect()
    equal(await conn.copy_records_to_table("copied", records=rows), "COPY 5000")
    out = io.BytesIO()
    equal(await conn.copy_from_query("select * from copied where id < $1 order by id", 100, output=out), "COPY 100")
    equal(out.getvalue().count(b"\n"), 100)
    out = io.BytesIO()
    await conn.copy_from_table("copied", output=out, format="csv")
    await conn.execute("truncate copied")
    equal(await conn.copy_to_table("copied", source=io.BytesIO(out.getvalue()), format="csv"), "COPY 5000")
    await fails(asyncpg.UniqueViolationError, conn.copy_records_to_table("copied", records=rows[:5]))
    equal([tuple(row) for row in await conn.fetch("select * from copied order by id")], rows)
    await conn.close()


@checks.add("LISTEN and NOTIFY, and a listener that goes back to its pool")
async def _():
    async with asyncpg.create_pool(min_size=2, max_size=4) as pool:
        heard = asyncio.Queue()

        def hear(_conn, _pid, _channel, payload):
            heard.put_nowait(payload)

        async with pool.acquire() as conn:
            await conn.add_listener("driver_asyncpg", hear)
            for n in range(5):
                await pool.execute("select pg_notify('driver_asyncpg', $1)", str(n))
            equal([await asyncio.wait_for(heard.get(), 20) for _ in range(5)], list("01234"))
            await conn.remove_listener("driver_asyncpg", hear)
        await pool.execute("notify driver_asyncpg")
        equal(await pool.fetchval("select 1"), 1)
        equal(heard.qsize(), 0)


@checks.add("cancellation and timeouts reach the statement, and the connection goes on")
async def _():
    conn = await asyncpg.connect()
    for _ in range(3):
        await fails(asyncio.TimeoutError, conn.fetchval("select pg_sleep($1)", 30, timeout=0.3))
        equal(await conn.fetchval("select $1::int", 5), 5)
    task = asyncio.create_task(conn.execute("select pg_sleep(30)"))
    await asyncio.sleep(0.3)
    task.cancel()
    await fails(asyncio.CancelledError, task)
    equal(await asyncio.wait_for(conn.fetchval("select 7"), 20), 7)
    await conn.close()


@checks.add("large results, at once and through cursors")
async def _():
    series = "select n, repeat('x', 500) from generate_series(1, $1::int) n"
    conn = await asyncpg.connect()
    equal(len(await conn.fetch(series, 40000)), 40000)
    async with conn.transaction():
        equal(len([row async for row in conn.cursor(series, 20000, prefetch=70)]), 20000)
        cursor = await conn.cursor(series, 1000)
        equal((await cursor.fetch(10))[9]["n"], 10)
        equal(await cursor.forward(100), 100)
        equal((await cursor.fetchrow())["n"], 111)
    await conn.close()


@checks.add("prepared statements by hand, and executemany")
async def _():
    conn = await asyncpg.connect()
    statement = await conn.prepare("select $1::int * $2::int as product")
    equal(statement.get_attributes()[0].name, "product")
    for n in range(20):
        equal(await statement.fetchval(n, 3), n * 3)
    equal([row[0] for row in await statement.fetchmany([(1, 1), (2, 2), (3, 3)])], [1, 4, 9])
    await conn.execute("create table many (a int primary key, b text)")
    await conn.executemany("insert into many values ($1, $2)", [(n, str(n)) for n in range(500)])
    equal(await conn.fetchval("select count(*) from many"), 500)
    await fails(asyncpg.UniqueViolationError, conn.executemany("insert into many values ($1, $2)", [(900, ""), (1, "")]))
    equal(await conn.fetchval("select count(*) from many"), 500)
    await conn.close()


@checks.add("a table that changes under cached statements")
async def _():
    conn = await asyncpg.connect()
    await conn.execute("create table changing (a int); insert into changing values (1)")
    for _ in range(5):
        equal(tuple(await conn.fetchrow("select * from changing where a = $1", 1)), (1,))
    await conn.execute("alter table changing add b text default 'x'")
    for _ in range(5):
        equal(tuple(await conn.fetchrow("select * from changing where a = $1", 1)), (1, "x"))
    await conn.close()


@checks.add("settings stay with their client until the pool resets it")
async def _():
    async with asyncpg.create_pool(min_size=8, max_size=8, server_settings={"work_mem": "9MB"}) as pool:
        for _ in range(5):
            async with pool.acquire() as one, pool.acquire() as two:
                await one.execute("set work_mem = '7MB'")
                equal(await two.fetchval("show work_mem"), "9MB")
                equal(await one.fetchval("show work_mem"), "7MB")
                await one.execute("create temp table if not exists mine (a int)")
                await one.fetchval("select pg_advisory_lock(2)")
                equal(await two.fetchval("select pg_try_advisory_lock(2)"), False)
                equal(await one.fetchval("select count(*) from mine"), 0)
        async with pool.acquire() as conn:
            equal(await conn.fetchval("show work_mem"), "9MB")
            equal(await conn.fetchval("select pg_try_advisory_lock(2)"), True)


if __name__ == "__main__":
    checks.main()
