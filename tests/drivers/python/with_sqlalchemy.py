"""SQLAlchemy with its defaults: its pool, its ORM, and its look at the catalogs; over psycopg 3 and over asyncpg."""

import asyncio
import os
import threading

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext import asyncio as sa_asyncio

from checks import Checks, equal, raises

checks = Checks(f"SQLAlchemy {sa.__version__}")
CLIENTS = 24


def url(driver):
    return sa.URL.create(
        f"postgresql+{driver}",
        username=os.environ["PGUSER"],
        password=os.environ["PGPASSWORD"],
        host=os.environ["PGHOST"],
        port=int(os.environ["PGPORT"]),
        database=os.environ["PGDATABASE"],
    )


class Base(orm.DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(unique=True)
    tags: orm.Mapped[list] = orm.mapped_column(postgresql.ARRAY(sa.Text), default=list)
    about: orm.Mapped[dict] = orm.mapped_column(postgresql.JSONB, default=dict)
    books: orm.Mapped[list["Book"]] = orm.relationship(back_populates="author", order_by="Book.id")


class Book(Base):
    __tablename__ = "books"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    title: orm.Mapped[str]
    mood: orm.Mapped[str] = orm.mapped_column(sa.Enum("dark", "light", name="book_mood"), default="light")
    author_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("authors.id"))
    author: orm.Mapped[Author] = orm.relationship(back_populates="books")


@checks.add("psycopg: makes a schema, objects and their relations, and reads them back")
def _():
    engine = sa.create_engine(url("psycopg"))
    Base.metadata.create_all(engine)
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        for n in range(30):
            author = Author(name=f"a{n}", tags=["x", str(n)], about={"n": n})
            author.books = [Book(title=f"b{n}-{k}") for k in range(5)]
            session.add(author)
        session.commit()
        for author in session.scalars(sa.select(Author).options(orm.selectinload(Author.books))):
            equal([book.title for book in author.books], [f"{author.name.replace('a', 'b')}-{k}" for k in range(5)])
        found = session.scalars(sa.select(Author).where(Author.about["n"].as_integer() == 7)).one()
        found.name = "renamed"
        session.commit()
        equal(session.get(Author, found.id).name, "renamed")
    engine.dispose()


@checks.add("psycopg: reflection")
def _():
    engine = sa.create_engine(url("psycopg"))
    inspector = sa.inspect(engine)
    assert {"authors", "books", "items"} <= set(inspector.get_table_names())
    equal([column["name"] for column in inspector.get_columns("books")], ["id", "title", "mood", "author_id"])
    equal(inspector.get_foreign_keys("books")[0]["referred_table"], "authors")
    reflected = sa.Table("authors", sa.MetaData(), autoload_with=engine)
    assert isinstance(reflected.c.tags.type, postgresql.ARRAY)
    engine.dispose()


@checks.add("psycopg: savepoints, errors, isolation levels and autocommit")
def _():
    engine = sa.create_engine(url("psycopg"))
    with orm.Session(engine) as session:
        session.add(Author(name="outer"))
        session.flush()
        try:
            with session.begin_nested():
                session.add(Author(name="outer"))
                session.flush()
            raise AssertionError("no IntegrityError")
        except sa.exc.IntegrityError as error:
            equal(error.orig.sqlstate, "23505")
        session.add(Author(name="after"))
        session.commit()
        equal(session.scalar(sa.select(sa.func.count()).where(Author.name.in_(["outer", "after"]))), 2)
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as conn:
        equal(conn.scalar(sa.text("show transaction_isolation")), "serializable")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(sa.text("create table auto (a int)"))
        conn.execute(sa.text("insert into auto values (1)"))
        equal(conn.scalar(sa.text("select count(*) from auto")), 1)
    with engine.connect().execution_options(postgresql_readonly=True) as conn:
        raises(sa.exc.DBAPIError, conn.execute, sa.text("insert into auto values (1)"))
    engine.dispose()


@checks.add("psycopg: results in parts, and many rows in one insert")
def _():
    engine = sa.create_engine(url("psycopg"))
    with engine.begin() as conn:
        conn.execute(sa.insert(Author), [{"name": f"many{n}"} for n in range(3000)])
        ids = conn.execute(
            sa.insert(Author).returning(Author.id, sort_by_parameter_order=True), [{"name": f"ids{n}"} for n in range(3000)]
        ).scalars().all()
        equal(ids, sorted(ids))
    with engine.connect() as conn:
        rows = conn.execution_options(yield_per=100).execute(sa.select(Author).where(Author.name.like("many%")))
        equal(sum(1 for _ in rows), 3000)
    engine.dispose()


def work(engine, worker):
    """What one of many clients does."""
    for n in range(15):
        with engine.begin() as conn:
            conn.execute(
                sa.text("insert into items (worker, n, note) values (:w, :n, :note)"), {"w": worker, "n": n, "note": f"w{worker}-{n}"}
            )
            equal(conn.scalar(sa.text("select note from items where worker = :w and n = :n"), {"w": worker, "n": n}), f"w{worker}-{n}")
        with engine.connect() as conn:
            low, high = sorted([worker % 10 + 1, n % 10 + 1])
            if low != high:
                conn.execute(sa.text("update accounts set balance = balance - 1 where id = :id"), {"id": low})
                conn.execute(sa.text("update accounts set balance = balance + 1 where id = :id"), {"id": high})
            conn.rollback() if n % 5 == 0 else conn.commit()


@checks.add("psycopg: more clients than server connections")
def _():
    engine = sa.create_engine(url("psycopg"), pool_size=CLIENTS, pool_pre_ping=True)
    errors = []

    def guarded(worker):
        try:
            work(engine, worker)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(worker,)) for worker in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    with engine.begin() as conn:
        equal(conn.scalar(sa.text("select count(distinct note) from items")), CLIENTS * 15)
        equal(conn.scalar(sa.text("select sum(balance)::int from accounts")), 10_000)
    engine.dispose()


@checks.add("asyncpg: more clients than server connections")
async def _():
    engine = sa_asyncio.create_async_engine(url("asyncpg"), pool_size=CLIENTS, pool_pre_ping=True)

    async def guarded(worker):
        for _ in range(3):
            async with engine.connect() as conn:
                await conn.run_sync(lambda conn: work_within(conn, worker))
                await conn.rollback()

    await asyncio.gather(*[guarded(worker) for worker in range(CLIENTS)])
    await engine.dispose()


def work_within(conn, worker):
    for n in range(5):
        conn.execute(sa.text("insert into items (worker, n, note) values (:w, :n, :note)"), {"w": -worker - 1, "n": n, "note": "x"})
        equal(conn.scalar(sa.text("select count(*) from items where worker = :w"), {"w": -worker - 1}), n + 1)
        equal(conn.scalar(sa.text("select cast(:w as int)"), {"w": worker}), worker)


@checks.add("asyncpg: objects, their relations, errors, streams and a changed table")
async def _():
    engine = sa_asyncio.create_async_engine(url("asyncpg"))
    async with sa_asyncio.AsyncSession(engine) as session:
        session.add(Author(name="async", tags=["ä"], about={"k": [1]}, books=[Book(title="one", mood="dark")]))
        await session.commit()
        query = sa.select(Author).where(Author.name == "async").options(orm.selectinload(Author.books))
        author = (await session.scalars(query)).one()
        equal((author.tags, author.about, author.books[0].mood), (["ä"], {"k": [1]}, "dark"))
        session.add(Author(name="async"))
        try:
            await session.commit()
            raise AssertionError("no IntegrityError")
        except sa.exc.IntegrityError:
            await session.rollback()
    async with engine.connect() as conn:
        result = await conn.stream(sa.text("select n, repeat('x', 500) from generate_series(1, 20000) n"))
        equal(len([row async for row in result]), 20000)
    async with engine.begin() as conn:
        await conn.execute(sa.text("create table changing (a int)"))
    for column in ("b", "c"):
        async with engine.begin() as conn:
            await conn.execute(sa.text("select * from changing"))
            await conn.execute(sa.text(f"alter table changing add {column} int"))
        async with engine.begin() as conn:
            # The driver's own statement cache makes the dialect fail once without any proxy, too.
            try:
                await conn.execute(sa.text("select * from changing"))
            except sa.exc.NotSupportedError:
                pass
    await engine.dispose()


if __name__ == "__main__":
    checks.main()
