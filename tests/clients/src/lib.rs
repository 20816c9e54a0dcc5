//! What people run already works with Dialtone unchanged: published at one provider, resolved at another, by the programs' own libraries.
#![cfg(test)]

mod support;

use iroh::address_lookup::{AddrFilter, AddressLookup, DnsAddressLookup, EndpointData, PkarrPublisher, PkarrResolver};
use iroh::dns::DnsResolver;
use iroh::{SecretKey, TransportAddr};
use n0_future::StreamExt;
use pkarr::errors::{PublishError, ResolveError};
use pkarr::{Client, Keypair, ResolvePolicy, SignedPacket};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use support::{ProviderProcess, World};

#[tokio::test]
async fn pkarrs_client_publishes_at_one_provider_and_resolves_at_another() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    let keypair = Keypair::random();
    for (round, at) in ["", "/pkarr"].into_iter().enumerate() {
        let text = format!("round {round}");
        let packet = signed(&keypair, &text);
        let stored = client(&[first.url() + at]).publish(&packet).await.expect("it is stored");
        assert!(stored >= 1, "somebody has it");
        let resolver = client(&[second.url() + at]);
        let found = until(async || {
            let found = resolver.resolve(&keypair.public_key(), ResolvePolicy::NetworkOnly).await.ok()?;
            (found.as_bytes() == packet.as_bytes()).then_some(found)
        })
        .await;
        assert_eq!(found.resource_records("_here").count(), 1);
        let cached = resolver.resolve(&keypair.public_key(), ResolvePolicy::CacheFirst).await;
        assert_eq!(cached.expect("it is fresh").as_bytes(), packet.as_bytes());
    }
}

#[tokio::test]
async fn pkarrs_client_hears_that_a_newer_packet_is_there_and_that_none_is() {
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    let keypair = Keypair::random();
    let (older, newer) = (signed(&keypair, "older"), signed(&keypair, "newer"));
    let relay = provider.url();
    assert_eq!(
        client(&[relay.clone()])
            .resolve(&keypair.public_key(), ResolvePolicy::CacheFirst)
            .await,
        Err(ResolveError::NotFound)
    );
    for _ in 0..2 {
        client(&[relay.clone()]).publish(&newer).await.expect("again is no conflict");
    }
    assert_eq!(client(&[relay.clone()]).publish(&older).await, Err(PublishError::NotMostRecent));
    let held = client(&[relay]).resolve(&keypair.public_key(), ResolvePolicy::CacheFirst).await;
    assert_eq!(held.expect("the newer").as_bytes(), newer.as_bytes());
}

#[tokio::test]
async fn pkarrs_client_goes_on_where_one_of_two_providers_has_gone() {
    let world = World::new();
    let (mut first, second) = ProviderProcess::peered(&world);
    let (keypair, relays) = (Keypair::random(), [first.url(), second.url()]);
    let packet = signed(&keypair, "both");
    client(&relays).publish(&packet).await.expect("both take it");
    first.stop();
    let found = client(&relays).resolve(&keypair.public_key(), ResolvePolicy::CacheFirst).await;
    assert_eq!(found.expect("the other has it").as_bytes(), packet.as_bytes());
}

#[tokio::test]
async fn an_endpoint_of_iroh_published_at_one_provider_is_found_at_another_over_http_and_dns() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    let secret = SecretKey::generate();
    let publisher = PkarrPublisher::builder(url(&first))
        .addr_filter(AddrFilter::unfiltered())
        .build(secret.clone(), tls());
    let (host, port) = second.dns();
    let resolver = DnsResolver::with_nameserver(format!("{host}:{port}").parse().expect("an address"));
    let by_http = PkarrResolver::builder(url(&second)).build(tls());
    let by_dns = DnsAddressLookup::builder("dialtone.alt".to_owned())
        .dns_resolver(resolver.clone())
        .build();
    // It is somewhere, and then somewhere else: what was found first is forgotten within its TTL, here at once.
    for addresses in [["203.0.113.5:4242", "[2001:db8::5]:4242"], ["203.0.113.6:1", "198.51.100.6:2"]] {
        let addresses: BTreeSet<SocketAddr> = addresses.map(|address| address.parse().expect("an address")).into();
        publisher.publish(&EndpointData::new(addresses.iter().copied().map(TransportAddr::Ip).collect()));
        for lookup in [&by_http as &dyn AddressLookup, &by_dns] {
            until(async || {
                resolver.clear_cache();
                let mut found = lookup.resolve(secret.public())?;
                let found = found.next().await?.ok()?;
                let at: BTreeSet<SocketAddr> = found.endpoint_info().ip_addrs().copied().collect();
                (at == addresses).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn what_pkarrs_client_publishes_iroh_finds_and_the_other_way_round() {
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    let secret = SecretKey::generate();
    let keypair = Keypair::from_secret_key(&secret.to_bytes());
    let packet = SignedPacket::builder()
        .txt(
            "_iroh".try_into().expect("a name"),
            "relay=https://relay.example./".try_into().expect("a text"),
            30,
        )
        .txt(
            "_iroh".try_into().expect("a name"),
            "addr=203.0.113.9:9".try_into().expect("a text"),
            30,
        )
        .sign(&keypair)
        .expect("it fits");
    client(&[provider.url()]).publish(&packet).await.expect("it is stored");
    let found = PkarrResolver::builder(url(&provider))
        .build(tls())
        .resolve(secret.public())
        .expect("it resolves")
        .next()
        .await;
    let found = found.expect("an answer").expect("it is found");
    assert_eq!(
        found.endpoint_info().relay_urls().map(ToString::to_string).collect::<Vec<_>>(),
        ["https://relay.example./"]
    );
    let publisher = PkarrPublisher::builder(url(&provider))
        .addr_filter(AddrFilter::unfiltered())
        .build(secret, tls());
    publisher.publish(&EndpointData::new(vec![TransportAddr::Ip(([203, 0, 113, 8], 8).into())]));
    until(async || {
        let found = client(&[provider.url()])
            .resolve(&keypair.public_key(), ResolvePolicy::NetworkOnly)
            .await
            .ok()?;
        found
            .resource_records("_iroh")
            .any(|rr| format!("{:?}", rr.rdata).contains("203.0.113.8:8"))
            .then_some(())
    })
    .await;
}

fn signed(keypair: &Keypair, text: &str) -> SignedPacket {
    SignedPacket::builder()
        .txt("_here".try_into().expect("a name"), text.try_into().expect("a text"), 300)
        .sign(keypair)
        .expect("it fits")
}

/// One that has nothing in its cache.
fn client(relays: &[String]) -> Client {
    Client::builder().relays(relays).expect("URLs").build().expect("a client")
}

fn url(provider: &ProviderProcess) -> url::Url {
    (provider.url() + "/pkarr").parse().expect("a URL")
}

fn tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// Asks until there is an answer, or for far too long.
async fn until<T>(mut so: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = so().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking)
        .await
        .expect("it did not come about")
}
