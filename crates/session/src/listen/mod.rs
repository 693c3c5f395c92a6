//! LISTEN over a connection that clients share. Each database and user has one, made when the first client listens:
//! it listens to whatever any of them listens to, and what it hears goes to the clients whose LISTEN has committed.
//!
//! A client's own LISTEN and UNLISTEN run where its other statements run, so that the server answers them, with their
//! place in the transaction and their errors. A LISTEN is sent once the shared connection listens to its channel; the
//! server connection that it ran on is not reused before `UNLISTEN *` (see [`pool::Server::listens`]).

mod aside;
mod channel;
mod follow;
mod hub;
mod line;
mod subscriber;

pub(crate) use hub::Hub;
pub(crate) use subscriber::Subscriber;
