'use strict'
// node-postgres (pg) with its defaults: unnamed statements, its pool, streams and cursors beside it.

const assert = require('node:assert/strict')
const { Readable } = require('node:stream')
const { pipeline } = require('node:stream/promises')
const pg = require('pg')
const copy = require('pg-copy-streams')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')
const { fails, inTime, run, sleep, version } = require('./checks')

const CLIENTS = 24
const SERIES = "select n, repeat('x', 500) as x from generate_series(1, $1::int) n"

async function withClient(options, use) {
  const client = new pg.Client(options)
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

const first = async (client, ...query) => Object.values((await client.query(...query)).rows[0])[0]

run(`node-postgres ${version('pg')}`, {
  'values of all kinds come back as they went': () => withClient({}, async client => {
    const date = new Date('2026-01-02T03:04:05.678Z')
    const values = [7, true, null, "ä€😀'\\", '123.4500', 1.5e300, Buffer.from([0, 1, 255]), date, [1, null, 3], { a: [1, null, 'ä'] }]
    const types = ['int', 'bool', 'text', 'text', 'numeric', 'float8', 'bytea', 'timestamptz', 'int[]', 'jsonb']
    const text = 'select ' + types.map((type, at) => `$${at + 1}::${type} as v${at}`).join(', ')
    for (let n = 0; n < 5; n++) {
      assert.deepEqual(Object.values((await client.query(text, values)).rows[0]), values)
    }
  }),

  'more clients than server connections, in transactions': async () => {
    const pool = new pg.Pool({ max: CLIENTS })
    const work = async worker => {
      for (let n = 0; n < 20; n++) {
        const client = await pool.connect()
        try {
          await client.query('insert into items (worker, n, note) values ($1, $2, $3)', [worker, n, `w${worker}-${n}`])
          assert.equal(await first(client, 'select note from items where worker = $1 and n = $2', [worker, n]), `w${worker}-${n}`)
          await client.query('begin')
          const [low, high] = [worker % 10 + 1, n % 10 + 1].sort((a, b) => a - b)
          if (low !== high) {
            await client.query('update accounts set balance = balance - 1 where id = $1', [low])
            await client.query('update accounts set balance = balance + 1 where id = $1', [high])
          }
          await client.query(n % 5 === 0 ? 'rollback' : 'commit')
        } finally {
          client.release()
        }
      }
    }
    await Promise.all(Array.from({ length: CLIENTS }, (_, worker) => work(worker)))
    const client = await pool.connect()
    await client.query('begin')
    assert.equal(await first(client, 'select count(distinct note)::int from items'), CLIENTS * 20)
    assert.equal(await first(client, 'select sum(balance)::int from accounts'), 10_000)
    await client.query('commit')
    client.release()
    await pool.end()
  },

  'named statements of the same name and different text on many clients': async () => {
    const work = worker => withClient({}, async client => {
      for (let n = 0; n < 20; n++) {
        const result = await client.query({ name: 'same', text: `select $1::int + ${worker} as sum`, values: [n] })
        assert.equal(result.rows[0].sum, n + worker)
        await sleep(1)
      }
    })
    await Promise.all(Array.from({ length: CLIENTS }, (_, worker) => work(worker)))
  },

  'many queries handed over at once': () => withClient({}, async client => {
    const results = await Promise.all(Array.from({ length: 200 }, (_, n) => first(client, 'select $1::int', [n])))
    assert.deepEqual(results, Array.from({ length: 200 }, (_, n) => n))
  }),

  "reads outside of transactions see the client's own writes": () => withClient({}, async client => {
    await client.query('create table own (n int)')
    for (let n = 0; n < 50; n++) {
      await client.query('insert into own values ($1)', [n])
      assert.equal(await first(client, 'select count(*)::int from own'), n + 1)
    }
  }),

  'several statements in one text, savepoints and errors': () => withClient({}, async client => {
    const results = await client.query('create table tx (a int primary key); insert into tx values (1); select a from tx')
    assert.deepEqual(results.map(result => result.command), ['CREATE', 'INSERT', 'SELECT'])
    await client.query('begin')
    await client.query('insert into tx values (2)')
    await client.query('savepoint a')
    const error = await fails('23505', client.query('insert into tx values ($1)', [1]))
    assert.equal(error.constraint, 'tx_pkey')
    await fails('25P02', client.query('select 1'))
    await client.query('rollback to a')
    await client.query('commit')
    assert.deepEqual((await client.query('select a from tx order by a')).rows, [{ a: 1 }, { a: 2 }])
    await fails('22012', client.query('select 1 / $1::int', [0]))
    assert.equal((await fails('42703', client.query('select nonsense from tx'))).position, '8')
    await fails('08P01', client.query('select $1::int', [1, 2]))
    assert.equal(await first(client, 'select 5'), 5)
  }),

  'COPY in and out': () => withClient({}, async client => {
    const lines = Array.from({ length: 5000 }, (_, n) => `${n},note ${n},\n`)
    await pipeline(Readable.from(lines), client.query(copy.from('copy copied from stdin (format csv)')))
    let length = 0
    for await (const chunk of client.query(copy.to('copy (select * from copied order by id) to stdout (format csv)'))) length += chunk.length
    assert.equal(length, lines.join('').length)
    await fails('23505', pipeline(Readable.from(lines), client.query(copy.from('copy copied from stdin (format csv)'))))
    assert.equal(await first(client, 'select count(*)::int from copied'), 5000)
  }),

  'LISTEN and NOTIFY': () => withClient({}, async listener => {
    const heard = []
    listener.on('notification', message => heard.push(message.payload))
    await listener.query('listen driver_pg')
    await withClient({}, async other => {
      for (let n = 0; n < 5; n++) await other.query('select pg_notify($1, $2)', ['driver_pg', String(n)])
    })
    for (let n = 0; n < 1000 && heard.length < 5; n++) await sleep(20)
    assert.deepEqual(heard, ['0', '1', '2', '3', '4'])
    await listener.query('unlisten *')
    assert.equal(await first(listener, 'select 1'), 1)
  }),

  'cancellation and timeouts reach the statement, and the connection goes on': async () => {
    await withClient({ statement_timeout: 300 }, async client => {
      await fails('57014', client.query('select pg_sleep(30)'))
      assert.equal(await first(client, 'show statement_timeout'), '300ms')
    })
    await withClient({}, async client => {
      const query = new pg.Query('select pg_sleep(30)')
      const ended = new Promise((done, failed) => query.on('error', failed).on('end', done))
      client.query(query)
      await sleep(300)
      new pg.Client().cancel(client, query)
      await fails('57014', inTime(ended, 20_000))
      assert.equal(await first(client, 'select 5'), 5)
    })
  },

  'large results, at once, as streams and through cursors': () => withClient({}, async client => {
    assert.equal((await client.query(SERIES, [40_000])).rowCount, 40_000)
    let rows = 0
    for await (const row of client.query(new QueryStream(SERIES, [40_000]))) rows += row.x.length / 500
    assert.equal(rows, 40_000)
    const cursor = client.query(new Cursor(SERIES, [1000]))
    assert.equal((await cursor.read(10))[9].n, 10)
    assert.equal((await cursor.read(100))[99].n, 110)
    await cursor.close()
    assert.equal(await first(client, 'select 5'), 5)
  }),

  'settings and temporary tables stay with their client': () => withClient({}, async one => {
    await withClient({ application_name: 'two', options: '-c work_mem=9MB' }, async two => {
      await one.query("set work_mem = '7MB'")
      await one.query('create temp table mine (a int)')
      for (let n = 0; n < 5; n++) {
        assert.equal(await first(one, 'show work_mem'), '7MB')
        assert.equal(await first(two, 'show work_mem'), '9MB')
        assert.equal(await first(two, 'show application_name'), 'two')
        assert.equal(await first(one, 'select count(*)::int from mine'), 0)
      }
    })
  }),
})
