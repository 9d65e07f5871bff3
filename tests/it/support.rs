//! What the tests share: the program as a process, its API through curl, a small plant.

pub(crate) mod api;
pub(crate) mod client;
pub(crate) mod command;
pub(crate) mod description;
pub(crate) mod faultfs;
pub(crate) mod forward;
pub(crate) mod installation;
pub(crate) mod load;
pub(crate) mod plant;
pub(crate) mod program;
pub(crate) mod socket;
pub(crate) mod token_endpoint;
pub(crate) mod wait;

pub(crate) use api::Api;
pub(crate) use plant::Plant;
pub(crate) use program::Program;
