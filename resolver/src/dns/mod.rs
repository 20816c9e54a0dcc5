//! The DNS frontend: names under the origin, aliases that people chose, and everything else forwarded or refused.
//!
//! In the order in which a question walks: [`question`] reads it, [`frontend`] takes it in, [`place`] says whose the name is, [`walk`]
//! goes from there to the data, [`answer`] turns a record into DNS (with [`services`] for what has an owner of its own), [`local`] knows
//! the names that never leave the house, [`server`] names the upstream resolvers, [`upstream_choice`] which of them is asked, [`forward`] judges what they say and [`upstream_cache`] keeps it, [`response`] writes the bytes,
//! [`edns`] adds the courtesies of the way it came, [`https`] says what an HTTP request asks, [`rcode`] says what went wrong. [`aliases`] is the file that maps legacy names onto flat ones, [`links`] are their owners' own; [`zone`] and [`rdata_text`] read zone
//! files into bindings. What is asked again goes a short way instead: [`glance`] makes a key of its question, [`hot`] keeps the bytes that were
//! answered (`kept`: for all connections together), [`generations`] knows whether they still hold. [`rate`] holds what goes out by UDP to what a
//! network may have, but for those whose [`cookie`] proves their address; [`accounts`] counts for it, and for what questions may make others do.
//! [`signing`] signs what stands under the origin for who asks for signatures, in the form that `canonical` gives it, and [`denial`] proves what is not there; `signing_budget` bounds how often. [`access`] says who may ask at all; [`counts`] and [`latency`] add up what was answered, and how long it took; [`query_log`] says what is noted of each, [`top`] what is asked
//! most while somebody looks; [`flush`] is what an operator has forgotten; [`designated`] tells clients of our encrypted transports. Sockets and files are in [`crate::io`].

pub mod access;
pub mod accounts;
pub mod aliases;
pub mod answer;
mod canonical;
pub mod cookie;
pub mod counts;
pub mod denial;
pub mod designated;
pub mod domain;
pub mod edns;
pub mod flush;
pub mod forward;
pub mod frontend;
pub mod generations;
pub mod glance;
pub mod hot;
pub mod https;
mod kept;
pub mod latency;
pub mod links;
pub mod local;
pub mod place;
pub mod query_log;
pub mod question;
pub mod rate;
pub mod rcode;
pub mod rdata_text;
mod rebase;
pub mod response;
pub mod server;
pub mod services;
pub mod settings;
pub mod shares;
pub mod signing;
mod signing_budget;
mod svcb_text;
pub mod top;
pub mod upstream_cache;
pub mod upstream_choice;
pub mod walk;
pub mod wire;
pub mod zone;
mod zone_lex;
pub mod zone_out;

pub use access::{AccessSettings, ViewSettings};
pub use counts::FrontendCounts;
pub use domain::Domain;
pub use frontend::{Carrier, Frontend, FrontendError, Reply, Via};
pub use links::Follow;
pub use query_log::QueryLogSettings;
pub use server::Server;
pub use settings::{Authority, FrontendSettings, ListenerSettings, RateSettings, SearchSettings};
