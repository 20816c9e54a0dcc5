//! The round of `up`: put at the first provider, seen at all, resolved at the last by stub and by DNS; nothing taken on trust.

use super::world::World;
use crate::ask::{Over, ask};
use crate::exit::{Exit, Failure, Outcome};
use crate::{failures, output};
use dialtone_resolver::error::PutError;
use dialtone_resolver::io::clock;
use dialtone_resolver::io::publisher::Publisher;
use dialtone_resolver::layers::{self, Host, ResolveOptions};
use dialtone_resolver::publish::{self, Account, PutIf};
use dialtone_resolver::{Lookup, ProviderAt};
use dialtone_shared::record::rdata::types;
use dialtone_shared::record::{Address, Binding, DnsData, Service, Transport};
use dialtone_shared::{Body, Ttl, VerifiedRecord};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// What was done so far, and how long each step took.
#[derive(Debug, Default)]
pub struct Round {
    steps: Vec<(&'static str, Duration)>,
}

impl Round {
    /// Goes round once. Every step checks what it claims.
    ///
    /// # Errors
    /// The first step that did not work.
    pub async fn go(&mut self, world: &World, aloud: bool) -> Outcome {
        let began = Instant::now();
        let record = sample_record(world).await?;
        self.step("peered", began, aloud, "every link between providers is up and caught up")?;
        let (first, last) = match world.providers.as_slice() {
            [first, .., last] => (first, last),
            _ => return Err(Failure::new(Exit::Bug, "round", "fewer than two providers")),
        };
        let name = world.sample.name;

        let began = Instant::now();
        let put = publisher_at(&first.url).put(&record, PutIf::Always).await;
        for acknowledged in put {
            let acknowledged = acknowledged.map_err(failures::put)?;
            if acknowledged.promise.provider != first.provider.name() || acknowledged.promise.rank != *record.rank() {
                return Err(wrong("the receipt", "it is not the first provider's for this record"));
            }
        }
        self.step("put", began, aloud, "at provider 1: on its disk, receipt checked")?;

        let others: Vec<ProviderAt> = world.providers[1..]
            .iter()
            .map(|other| ProviderAt::Http(other.url.clone()))
            .collect();
        let watch = publisher_at(&last.url)
            .wait_until_visible(&name, record.rank(), &others, PATIENCE)
            .await;
        watch.map_err(failures::not_visible)?;
        self.step(
            "visible",
            began,
            aloud,
            &format!("at {} other provider(s), since the put began", others.len()),
        )?;

        for running in &world.providers {
            let held = publisher_at(&running.url).held(&name).await.map_err(failures::put)?;
            if held.map(|held| *held.rank()) != Some(*record.rank()) {
                return Err(wrong(&running.url, "it does not hold the record at the rank that was put"));
            }
        }

        let began = Instant::now();
        let found = world
            .stub
            .lookup_fresh(&name)
            .await
            .map_err(|error| failures::lookup(name, error))?;
        match found {
            Lookup::Found { record: found, .. } if found.bytes() == record.bytes() => {}
            Lookup::Found { .. } | Lookup::Absent { .. } => {
                return Err(wrong("the stub", "it found another record than the one that was put"));
            }
        }
        self.step(
            "stub",
            began,
            aloud,
            "at the last provider over DNS: signature verified, same rank, same bytes",
        )?;

        let began = Instant::now();
        let resolved = layers::resolve(&world.stub, &name, &ResolveOptions::default())
            .await
            .map_err(failures::resolve)?;
        let hosts: Vec<&Host> = resolved.endpoints.iter().map(|endpoint| &endpoint.host).collect();
        if !hosts.contains(&&Host::Ip(SAMPLE_V4.into())) || !hosts.contains(&&Host::Ip(SAMPLE_V6.into())) {
            return Err(wrong("the layers", "they do not lead to the sample's addresses"));
        }
        self.step(
            "layers",
            began,
            aloud,
            &format!("service → address: {} endpoint(s), from the stub's cache", hosts.len()),
        )?;

        for (over, said_as, kind, address) in [
            (Over::Udp, "DNS A", RecordType::A, IpAddr::V4(SAMPLE_V4)),
            (Over::Tcp, "DNS AAAA", RecordType::AAAA, IpAddr::V6(SAMPLE_V6)),
        ] {
            let began = Instant::now();
            let said = ask(world.dns, over, &world.sample_dns(), kind, PATIENCE)
                .await
                .map_err(|reason| Failure::new(Exit::Network, format!("frontend {}", world.dns), reason))?;
            if said.code != ResponseCode::NoError || said.addresses != [address] {
                return Err(wrong(
                    &format!("frontend {}", world.dns),
                    &format!("it answered {} {:?} instead of {address}", said.code, said.addresses),
                ));
            }
            let carrier = if over == Over::Udp { "UDP" } else { "TCP" };
            self.step(said_as, began, aloud, &format!("at the frontend over {carrier}: {address}"))?;
        }
        Ok(())
    }

    /// The steps for scripts.
    pub fn to_json(&self) -> Value {
        let step = |(step, took): &(&'static str, Duration)| json!({ "step": step, "ms": output::millis_json(*took) });
        self.steps.iter().map(step).collect()
    }

    fn step(&mut self, step: &'static str, began: Instant, aloud: bool, says: &str) -> Outcome {
        let took = began.elapsed();
        self.steps.push((step, took));
        if aloud {
            output::step(took, format!("{step:<12} {says}"))
        } else {
            Ok(())
        }
    }
}

/// Signs the sample, later than whatever any provider holds of it from last time. A provider says so only when its links to the others
/// have caught up.
async fn sample_record(world: &World) -> Result<VerifiedRecord, Failure> {
    let began = Instant::now();
    let mut last = None;
    for running in &world.providers {
        let held = loop {
            match publisher_at(&running.url).held(&world.sample.name).await {
                Ok(held) => break held,
                Err(PutError::Unavailable { .. }) if began.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => return Err(failures::put(error)),
            }
        };
        last = last.max(held.map(|held| held.record().sequence));
    }
    let now = clock::now_micros();
    let sequence = publish::next_sequence(now, last);
    let mut https = Service::of("https", Transport::Tcp, 443);
    https.alpn = vec!["h2".to_owned()];
    let body = Body::Live {
        expiry: now.secs().plus(SAMPLE_LIFE_SECS),
        ttl: Ttl(60),
        bindings: vec![
            Binding::Address(Address::of(SAMPLE_V4.into())),
            Binding::Address(Address::of(SAMPLE_V6.into())),
            Binding::Service(https),
            Binding::Dns(DnsData {
                owner: String::new(),
                kind: types::TXT,
                ttl: Ttl(60),
                rdata: b"\x13hello from dialtone".to_vec(),
            }),
        ],
    };
    publish::sign(&world.sample.signer, sequence, Vec::new(), body).map_err(failures::sign)
}

fn publisher_at(url: &str) -> Publisher {
    Publisher::new(vec![Account {
        at: ProviderAt::Http(url.to_owned()),
        token: None,
    }])
}

fn wrong(thing: &str, reason: &str) -> Failure {
    Failure::new(Exit::Unverified, thing, reason).help("the logs say more with --verbose")
}

/// Addresses for documentation (RFC 5737, RFC 3849): nothing is there.
const SAMPLE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const SAMPLE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// The sample is published anew at every start; a month is long enough to look at it.
const SAMPLE_LIFE_SECS: u64 = 30 * 86_400;
/// How long a step may take before it counts as failed; each takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
