//! One verb a file: what it prints is next to what it does.

pub mod account;
pub mod alias;
pub mod audit;
pub mod check_config;
pub mod completions;
pub mod dns;
pub mod doctor;
pub mod key;
pub mod lease;
pub mod link;
pub mod peer;
pub mod provider;
pub mod publish;
pub mod resolve;
pub mod template;
pub mod unpublish;
pub mod up;
pub mod value;
pub mod watch;
