//! Units that only prepare or close statements need no server: what a server accepted before is prepared when it is
//! used. This also lets a client prepare while every server connection is in a transaction, which would otherwise
//! deadlock clients that share a thread (pgbench -M prepared with more clients than connections).

use std::rc::Rc;

use pool::Statement;
use wire::{
    frame::{Direction, MESSAGE_LIMIT, Peek, peek},
    message::{
        backend::{TxStatus, bare, ready_for_query},
        frontend::{Parse, Target},
    },
};

use crate::{session::Session, stats::count};

/// What one message of such a unit does to the client's names.
enum Step<'a> {
    Name(&'a [u8], Rc<Statement>),
    Forget(&'a [u8]),
}

impl Session {
    /// Answers the first unit of `input` if it consists of nothing but Parse of accepted statements, Close of
    /// statements, and Sync: the number of bytes it had, else 0 and nothing was done.
    pub(crate) fn prepare_without_server(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let Some((steps, taken)) = self.preparing_unit(input) else { return 0 };
        for step in steps {
            match step {
                Step::Name(name, statement) => {
                    count(&self.pools.stats.client_parses, 1);
                    self.names.insert(name, statement);
                    bare(b'1', out);
                }
                Step::Forget(name) => {
                    self.names.remove(name);
                    bare(b'3', out);
                }
            }
        }
        self.count_names();
        ready_for_query(TxStatus::Idle, out);
        taken
    }

    fn preparing_unit<'a>(&self, input: &'a [u8]) -> Option<(Vec<Step<'a>>, usize)> {
        let mut steps = Vec::new();
        let mut at = 0;
        while let Ok(Peek::Whole { header, body }) =
            peek(input.get(at..)?, Direction::Frontend, MESSAGE_LIMIT)
        {
            at += header.total_len();
            match header.tag {
                b'S' => return Some((steps, at)),
                b'P' => {
                    let parse = Parse::read(body).ok()?;
                    let taken =
                        |step: &Step<'_>| matches!(step, Step::Name(name, _) if *name == parse.statement);
                    if parse.statement.is_empty()
                        || self.names.find(parse.statement).is_some()
                        || steps.iter().any(taken)
                        || self.names.are_in_code(parse.query)
                    {
                        return None;
                    }
                    let statement = self.pools.intern(parse.query, parse.parameter_types, &self.wanted);
                    let too_many = self.has_too_many_statements(parse.statement, &statement).is_some();
                    if too_many || !statement.is_accepted() {
                        return None;
                    }
                    steps.push(Step::Name(parse.statement, statement));
                }
                b'C' => match Target::read(body) {
                    Ok(Target::Statement(name)) if !name.is_empty() => steps.push(Step::Forget(name)),
                    Ok(Target::Statement(_) | Target::Portal(_)) | Err(_) => return None,
                },
                _ => return None,
            }
        }
        None
    }
}
