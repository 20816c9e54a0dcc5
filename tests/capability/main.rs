//! What Dialtone can do, seen from outside: the real binary, real sockets, real files.
//!
//! One file is one capability; its tests read like promises. `support/` starts and stops things.

mod support;

mod asked;
mod audit;
mod compliance;
mod differential;
mod docs_tell_the_truth;
mod encrypted_dns;
mod examples;
mod javascript;
mod keeping;
mod key_life;
mod keys;
mod lent_sockets;
mod links;
mod listeners;
mod live;
mod operating;
mod passphrases;
mod peering;
mod publish_and_resolve;
mod publishing;
mod query_log;
mod readme;
mod real_clients;
mod resolvers;
mod siblings;
mod signing;
mod site;
mod tags;
mod templates;
mod told;
mod untangled;
mod up_once;
mod values;
mod watching;
mod wrong_use;
