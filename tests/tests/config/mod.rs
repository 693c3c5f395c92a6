//! Where the configuration comes from, and what is said about a wrong one.

mod files;
mod sources;
