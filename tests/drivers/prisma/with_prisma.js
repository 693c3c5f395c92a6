'use strict'
// Prisma with its defaults: the client that `prisma generate` makes of schema.prisma, over its adapter for pg.

const assert = require('node:assert/strict')
const { PrismaPg } = require('@prisma/adapter-pg')
const { PrismaClient } = require('generated')
const { run, sleep } = require('../node/checks')
const { dependencies } = require('./package.json')

const CLIENTS = 24

async function withClient(use) {
  const { PGUSER, PGPASSWORD, PGHOST, PGPORT, PGDATABASE } = process.env
  const connectionString = `postgresql://${PGUSER}:${PGPASSWORD}@${PGHOST}:${PGPORT}/${PGDATABASE}`
  const client = new PrismaClient({ adapter: new PrismaPg({ connectionString, max: CLIENTS }) })
  try {
    return await use(client)
  } finally {
    await client.$disconnect()
  }
}

run(`prisma ${dependencies.prisma}`, {
  'what was written is read at once, by many at a time': () => withClient(async client => {
    const work = async worker => {
      for (let n = 0; n < 20; n++) {
        const note = `w${worker}-${n}`
        await client.item.create({ data: { worker, n, note } })
        assert.equal((await client.item.findUnique({ where: { worker_n: { worker, n } } })).note, note)
      }
    }
    await Promise.all(Array.from({ length: CLIENTS }, (_, worker) => work(worker)))
    assert.equal(await client.item.count(), CLIENTS * 20)
    const [last] = await client.item.findMany({ where: { worker: 3 }, orderBy: { n: 'desc' }, take: 1 })
    assert.equal(last.note, 'w3-19')
  }),

  'transactions move money, and none gets lost': () => withClient(async client => {
    const move = (from, to) => client.$transaction(async tx => {
      await tx.account.update({ where: { id: from }, data: { balance: { decrement: 1 } } })
      await sleep(Math.random() * 5)
      await tx.account.update({ where: { id: to }, data: { balance: { increment: 1 } } })
      if (to === 5) throw new Error('changed my mind')
    }, { maxWait: 30_000, timeout: 30_000 })
    const moves = Array.from({ length: 60 }, (_, n) => move(n % 4 + 1, n % 6 + 5))
    const results = await Promise.allSettled(moves)
    const failed = results.filter(result => result.status === 'rejected')
    assert.equal(failed.length, 10)
    for (const { reason } of failed) assert.equal(reason.message, 'changed my mind')
    const { _sum } = await client.account.aggregate({ _sum: { balance: true } })
    assert.equal(_sum.balance, 10_000n)
  }),

  'a batch is one transaction': () => withClient(async client => {
    const create = n => client.item.create({ data: { worker: 1000, n } })
    const code = await client.$transaction([create(1), create(2), create(2)]).catch(error => error.code)
    assert.equal(code, 'P2002')
    assert.equal(await client.item.count({ where: { worker: 1000 } }), 0)
    await client.$transaction([create(1), create(2), create(3)])
    assert.equal(await client.item.count({ where: { worker: 1000 } }), 3)
  }),

  'SQL of one\'s own, with parameters': () => withClient(async client => {
    const rows = await client.$queryRaw`select n, ${'ä€😀'}::text as text from generate_series(1, ${3}::int) n`
    assert.deepEqual(rows, [1, 2, 3].map(n => ({ n, text: 'ä€😀' })))
    assert.equal(await client.$executeRaw`update items set note = ${'new'} where worker = ${3} and n < ${5}`, 5)
    assert.equal(await client.item.count({ where: { note: 'new' } }), 5)
  }),

  'an error leaves the connections usable': () => withClient(async client => {
    for (let n = 0; n < 2 * CLIENTS; n++) {
      await assert.rejects(client.$queryRawUnsafe('select no_such_column'))
      assert.equal((await client.$queryRaw`select 5 as five`)[0].five, 5)
    }
  }),
})
