'use strict'
// Runs checks one after another and prints a line for each; the exit code tells whether all of them passed.

const assert = require('node:assert/strict')
const { dependencies } = require('./package.json')

// Milliseconds that one check may take.
const PATIENCE = 60_000

const sleep = milliseconds => new Promise(done => setTimeout(done, milliseconds))

// The version of a package, which is pinned.
const version = name => dependencies[name]

// Fails unless the promise fails with this SQLSTATE; gives the error.
async function fails(sqlstate, promise) {
  const error = await promise.then(() => assert.fail(`no ${sqlstate}`), error => error)
  assert.equal(error.code, sqlstate, error.stack)
  return error
}

// Fails if the promise takes too long.
function inTime(promise, milliseconds = PATIENCE) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${milliseconds} ms`)), milliseconds)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

// `all`: from a sentence that says what is checked to an async function.
async function run(driver, all) {
  const only = process.argv[2] ?? ''
  let failed = 0
  for (const [what, check] of Object.entries(all)) {
    if (!what.includes(only)) continue
    try {
      await inTime(check())
      console.log(`${driver}: ok: ${what}`)
    } catch (error) {
      failed = 1
      console.log(`${driver}: FAILED: ${what}\n${error.stack}`)
    }
  }
  process.exit(failed)
}

module.exports = { fails, inTime, run, sleep, version }
