'use strict'
// postgres.js with its defaults: ten connections, all statements prepared, and sent without waiting for the last one.

const assert = require('node:assert/strict')
const { Readable } = require('node:stream')
const { pipeline } = require('node:stream/promises')
const postgres = require('postgres')
const { fails, inTime, run, sleep, version } = require('./checks')

// What its Unix-like default would take from the machine's account is in the environment: PGHOST and so on.
async function withClient(options, use) {
  const sql = postgres(options)
  try {
    return await use(sql)
  } finally {
    await sql.end({ timeout: 5 })
  }
}

run(`postgres.js ${version('postgres')}`, {
  'values of all kinds come back as they went': () => withClient({}, async sql => {
    const date = new Date('2026-01-02T03:04:05.678Z')
    const json = { a: [1, null, 'ä'] }
    for (let n = 0; n < 5; n++) {
      const [row] = await sql`select ${7}::int as a, ${true}::bool as b, ${null}::text as c, ${"ä€😀'\\"} as d,
        ${'123.4500'}::numeric as e, ${Buffer.from([0, 1, 255])}::bytea as f, ${date}::timestamptz as g,
        ${[1, 2, 3]}::int[] as h, ${sql.json(json)}::jsonb as i, ${'{happy,sad}'}::mood[] as j`
      assert.deepEqual([...Object.values(row)].slice(0, 9),
        [7, true, null, "ä€😀'\\", '123.4500', Buffer.from([0, 1, 255]), date, [1, 2, 3], json])
      assert.deepEqual(row.j, ['happy', 'sad'])
    }
  }),

  'more connections than server connections, in transactions': () => withClient({ max: 24 }, async sql => {
    const work = async worker => {
      for (let n = 0; n < 20; n++) {
        await sql.begin(async sql => {
          await sql`insert into items ${sql({ worker, n, note: `w${worker}-${n}` })}`
          const [row] = await sql`select note from items where worker = ${worker} and n = ${n}`
          assert.equal(row.note, `w${worker}-${n}`)
        })
        const [low, high] = [worker % 10 + 1, n % 10 + 1].sort((a, b) => a - b)
        const transfer = sql.begin(async sql => {
          if (low !== high) {
            // Both on their way before the first is answered.
            await Promise.all([
              sql`update accounts set balance = balance - 1 where id = ${low}`,
              sql`update accounts set balance = balance + 1 where id = ${high}`,
            ])
          }
          if (n % 5 === 0) throw new Error('rolled back')
        })
        if (n % 5 === 0) await assert.rejects(transfer, /rolled back/)
        else await transfer
      }
    }
    await Promise.all(Array.from({ length: 24 }, (_, worker) => work(worker)))
    await sql.begin(async sql => {
      assert.equal((await sql`select count(distinct note)::int as n from items`)[0].n, 480)
      assert.equal((await sql`select sum(balance)::int as n from accounts`)[0].n, 10_000)
    })
  }),

  'hundreds of queries handed over at once': () => withClient({}, async sql => {
    const rows = await Promise.all(Array.from({ length: 1000 }, (_, n) => n % 3 ? sql`select ${n}::int as n` : sql`select ${n}::int as n, ${'x'} as x`))
    assert.deepEqual(rows.map(([row]) => row.n), Array.from({ length: 1000 }, (_, n) => n))
  }),

  "reads outside of transactions see the client's own writes": () => withClient({ max: 1 }, async sql => {
    await sql`create table own (n int)`
    for (let n = 0; n < 50; n++) {
      await sql`insert into own values (${n})`
      assert.equal((await sql`select count(*)::int as n from own`)[0].n, n + 1)
    }
  }),

  'savepoints and errors, also in the middle of what was handed over at once': () => withClient({ max: 1 }, async sql => {
    await sql`create table tx (a int primary key)`
    await sql.begin('isolation level serializable', async sql => {
      assert.equal((await sql`show transaction_isolation`)[0].transaction_isolation, 'serializable')
      await sql`insert into tx values (1)`
      await fails('23505', sql.savepoint(sql => sql`insert into tx values (1)`))
      await sql`insert into tx values (2)`
    })
    assert.deepEqual([...await sql`select a from tx order by a`], [{ a: 1 }, { a: 2 }])
    const ends = await Promise.allSettled([sql`select 1 as n`, sql`select 1 / ${0}::int as n`, sql`selec 1`, sql`select ${2}::int as n`])
    assert.deepEqual(ends.map(end => end.reason?.code ?? end.value[0].n), [1, '22012', '42601', 2])
    await assert.rejects(sql.begin('read only', sql => sql`insert into tx values (9)`), { code: '25006' })
    assert.equal((await sql.unsafe('select 1 as a; select 2 as b')).length, 2)
  }),

  'COPY in and out': () => withClient({ max: 1 }, async sql => {
    const lines = Array.from({ length: 5000 }, (_, n) => `${n}\tnote ${n}\t\\N\n`)
    await pipeline(Readable.from(lines), await sql`copy copied from stdin`.writable())
    assert.equal((await sql`select count(*)::int as n from copied`)[0].n, 5000)
    let length = 0
    const out = await sql`copy (select * from copied order by id) to stdout`.readable()
    for await (const chunk of out) length += chunk.length
    assert.equal(length, lines.join('').length)
  }),

  'LISTEN and NOTIFY': () => withClient({}, async sql => {
    const heard = []
    const { unlisten } = await sql.listen('driver_postgres_js', payload => heard.push(payload))
    for (let n = 0; n < 5; n++) await sql.notify('driver_postgres_js', String(n))
    for (let n = 0; n < 1000 && heard.length < 5; n++) await sleep(20)
    assert.deepEqual(heard, ['0', '1', '2', '3', '4'])
    await unlisten()
  }),

  'cancellation reaches the statement, and the connection goes on': () => withClient({ max: 1 }, async sql => {
    for (let n = 0; n < 3; n++) {
      const query = sql`select pg_sleep(30)`.execute()
      await sleep(300)
      query.cancel()
      await fails('57014', inTime(query, 20_000))
      assert.equal((await sql`select ${n}::int as n`)[0].n, n)
    }
  }),

  'large results, at once and through cursors': () => withClient({}, async sql => {
    assert.equal((await sql`select n, repeat('x', 500) as x from generate_series(1, 40000) n`).length, 40_000)
    let rows = 0
    for await (const part of sql`select n, repeat('x', 500) as x from generate_series(1, 40000) n`.cursor(100)) rows += part.length
    assert.equal(rows, 40_000)
    rows = 0
    await sql`select n from generate_series(1, 40000) n`.forEach(() => { rows += 1 })
    assert.equal(rows, 40_000)
    const [described] = await Promise.all([sql`select ${1}::int as one`.describe(), sql`select 2 as two`])
    assert.equal(described.columns[0].name, 'one')
  }),

  'a table that changes under prepared statements': () => withClient({ max: 1 }, async sql => {
    await sql`create table changing (a int)`
    await sql`insert into changing values (1)`
    const read = () => sql`select * from changing where a = ${1}`
    for (let n = 0; n < 5; n++) assert.deepEqual([...await read()], [{ a: 1 }])
    await sql`alter table changing add b text default 'x'`
    for (let n = 0; n < 5; n++) assert.deepEqual([...await read()], [{ a: 1, b: 'x' }])
  }),

  'settings stay with their client': () => withClient({ max: 1, connection: { work_mem: '9MB', application_name: 'two' } }, async two => {
    await withClient({ max: 1 }, async one => {
      await one`set work_mem = '7MB'`
      for (let n = 0; n < 5; n++) {
        assert.equal((await one`show work_mem`)[0].work_mem, '7MB')
        assert.equal((await two`show work_mem`)[0].work_mem, '9MB')
      }
    })
    const reserved = await two.reserve()
    await reserved`create temp table mine (a int)`
    assert.equal((await reserved`select count(*)::int as n from mine`)[0].n, 0)
    reserved.release()
  }),
})
