//! Follows Patroni: what its REST API and its etcd keys say about who leads a cluster, and its control verbs.
//!
//! Reading is pure: [`View::of_cluster`], [`Status::read`] and [`EtcdKeys`] take bytes that anybody may have sent and
//! give values of bounded size. The shell around them ([`Follower`]) asks the REST API in turn, keeps a watch on the
//! keys in etcd, and hands every [`Sighting`] on. It decides nothing: that a member leads is a hint, and no node is
//! written to before it has said over SQL that it is not in recovery (`topology`).
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

mod control;
mod endpoint;
mod etcd;
mod follow;
mod http;
mod rest;
mod settings;
mod view;

pub use control::{Control, ControlError, Done, Progress};
pub use endpoint::{Endpoint, ParseEndpointError, Scheme};
pub use etcd::{EtcdError, EtcdKeys};
pub use follow::{FollowError, Follower, Pace, Said, Sighting, Source};
pub use http::HttpError;
pub use rest::{MalformedAnswer, Status};
pub use settings::*;
pub use view::{Automation, Leader, Member, Role, Scheduled, Tag, View};
