//! From a name to endpoints, over records made by hand.

mod stub_support;

use dialtone_resolver::LookupError;
use dialtone_resolver::error::ResolveError;
use dialtone_resolver::layers::{Endpoint, Host, Resolution, ResolveOptions, Said, Via, resolve};
use dialtone_shared::record::{Address, Delegate, Service, Step, Target, Transport};
use dialtone_shared::{Binding, Name, Ttl};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use stub_support::record_with;
use stub_support::source::Map;

fn map(records: Vec<(u8, Vec<Binding>)>) -> Map {
    let mut map = Map::default();
    for (key, bindings) in records {
        let record = record_with(key, 1, |body| body.bindings = bindings);
        map.records.insert(*record.name(), Ok(record));
    }
    map
}

fn name(key: u8) -> Name {
    *record_with(key, 1, |_| ()).name()
}

fn address(last: u8) -> Binding {
    address_of(last, 0, 0)
}

fn address_of(last: u8, priority: u16, weight: u16) -> Binding {
    Binding::Address(Address {
        ip: [192, 0, 2, last].into(),
        priority,
        weight,
        region: None,
    })
}

fn service(label: &str, port: u16, target: Target) -> Service {
    Service {
        label: label.to_owned(),
        transport: Transport::Tcp,
        port,
        target,
        alpn: vec!["h2".to_owned()],
        priority: 0,
        weight: 0,
        pins: vec![[3; 32]],
    }
}

fn at(key: u8) -> Target {
    Target::Name(name(key))
}

fn delegate(path: Vec<Step>) -> Binding {
    Binding::Delegate(Delegate { path })
}

fn to(key: u8) -> Step {
    Step::Name(name(key))
}

async fn resolved(map: &Map, key: u8) -> Resolution {
    resolve(map, &name(key), &ResolveOptions::default()).await.unwrap()
}

/// Endpoints as `192.0.2.1:443`, in order.
fn places(endpoints: &[Endpoint]) -> Vec<String> {
    let place = |endpoint: &Endpoint| match (&endpoint.host, endpoint.port) {
        (Host::Ip(ip), Some(port)) => format!("{ip}:{port}"),
        (Host::Ip(ip), None) => ip.to_string(),
        (Host::Legacy(dns), port) => format!("{dns}{}", port.map_or(String::new(), |port| format!(":{port}"))),
    };
    endpoints.iter().map(place).collect()
}

#[tokio::test]
async fn a_name_with_addresses_is_its_addresses() {
    let found = resolved(&map(vec![(1, vec![address(1)])]), 1).await;
    assert_eq!(places(&found.endpoints), ["192.0.2.1"]);
    assert_eq!((found.endpoints[0].path.clone(), found.ttl), (vec![name(1)], Ttl(60)));
    assert_eq!(found.trouble(), None);
}

#[tokio::test]
async fn a_service_leads_to_its_host_and_the_host_to_its_addresses() {
    let own = Binding::Service(service("ssh", 22, Target::Own));
    let there = Binding::Service(service("https", 443, at(2)));
    let map = map(vec![(1, vec![address(1), own, there]), (2, vec![address(2)])]);
    let mut found = resolved(&map, 1).await;
    found.endpoints.sort_by_key(|endpoint| endpoint.port);
    assert_eq!(places(&found.endpoints), ["192.0.2.1:22", "192.0.2.2:443"]);
    let web = &found.endpoints[1];
    assert_eq!(web.path, [name(1), name(2)]);
    assert_eq!(
        (web.service.as_deref(), web.transport, &web.alpn[..]),
        (Some("https"), Some(Transport::Tcp), &["h2".to_owned()][..])
    );
    assert_eq!(web.pins, [[3; 32]]);
    assert_eq!(found.tree.children[0].via, Via::Service("https".to_owned()));
    assert_eq!(found.records().len(), 2);
}

#[tokio::test]
async fn only_the_service_that_is_wanted_is_followed() {
    let map = map(vec![
        (
            1,
            vec![
                Binding::Service(service("https", 443, at(2))),
                Binding::Service(service("ssh", 22, at(3))),
            ],
        ),
        (2, vec![address(2)]),
        (3, vec![address(3)]),
    ]);
    let options = |label: &str| ResolveOptions {
        service: Some(label.to_owned()),
        ..ResolveOptions::default()
    };
    let found = resolve(&map, &name(1), &options("ssh")).await.unwrap();
    assert_eq!(places(&found.endpoints), ["192.0.2.3:22"]);
    assert_eq!(map.lookups.load(Ordering::SeqCst), 2);
    let none = resolve(&map, &name(1), &options("smtp")).await.unwrap();
    assert!(none.endpoints.is_empty() && none.trouble().is_none());
    let bare = resolve(&map, &name(2), &options("ssh")).await.unwrap();
    assert!(bare.endpoints.is_empty(), "an address alone offers no service");
}

#[tokio::test]
async fn a_delegate_stands_in_for_the_name_and_the_rest_of_its_path_goes_along() {
    let map = map(vec![
        (
            1,
            vec![address(1), delegate(vec![to(2), to(4), Step::Legacy("example.com".to_owned())])],
        ),
        (2, vec![Binding::Service(service("https", 443, at(3)))]),
        (3, vec![delegate(vec![to(5)])]),
        (5, vec![address(5)]),
    ]);
    let found = resolved(&map, 1).await;
    assert_eq!(places(&found.endpoints), ["192.0.2.5:443"]);
    assert_eq!(found.endpoints[0].path, [name(1), name(2), name(3), name(5)]);
    assert_eq!(found.endpoints[0].onward, [to(4), Step::Legacy("example.com".to_owned())]);
    assert_eq!(map.lookups.load(Ordering::SeqCst), 4, "later steps are not ours to follow");
}

#[tokio::test]
async fn a_legacy_step_is_given_back_for_the_systems_resolver() {
    let map = map(vec![
        (1, vec![Binding::Service(service("https", 443, at(2)))]),
        (2, vec![delegate(vec![Step::Legacy("www.example.com".to_owned())])]),
    ]);
    let found = resolved(&map, 1).await;
    assert_eq!(places(&found.endpoints), ["www.example.com:443"]);
    assert_eq!(found.tree.children[0].legacy.as_deref(), Some("www.example.com"));
}

#[tokio::test]
async fn a_circle_ends_and_what_is_beside_it_still_counts() {
    let map = map(vec![
        (
            1,
            vec![
                Binding::Service(service("https", 443, at(2))),
                Binding::Service(service("https", 444, at(3))),
            ],
        ),
        (2, vec![delegate(vec![to(1)])]),
        (3, vec![address(3)]),
    ]);
    let found = resolved(&map, 1).await;
    assert_eq!(places(&found.endpoints), ["192.0.2.3:444"]);
    assert_eq!(found.trouble(), Some((&name(1), &Said::Cycle)));
    let own = resolved(&self::map(vec![(9, vec![delegate(vec![to(9)])])]), 9).await;
    assert!(own.endpoints.is_empty() && own.trouble() == Some((&name(9), &Said::Cycle)));
}

#[tokio::test]
async fn chains_are_followed_to_a_depth_and_no_further() {
    let chain = |length: u8| {
        let mut records: Vec<_> = (1..length).map(|key| (key, vec![delegate(vec![to(key + 1)])])).collect();
        records.push((length, vec![address(length)]));
        map(records)
    };
    assert_eq!(places(&resolved(&chain(9), 1).await.endpoints), ["192.0.2.9"]);
    let too_long = chain(20);
    let found = resolved(&too_long, 1).await;
    assert!(found.endpoints.is_empty());
    assert!(matches!(found.trouble(), Some((_, Said::Limit(_)))));
    assert_eq!(too_long.lookups.load(Ordering::SeqCst), 9, "nothing is asked for in vain");
}

#[tokio::test]
async fn one_record_cannot_make_us_ask_for_many() {
    let services = (2..40).map(|key| Binding::Service(service("https", 443, at(key)))).collect();
    let mut records = vec![(1, services)];
    records.extend((2..40).map(|key| (key, vec![address(key)])));
    let map = map(records);
    let found = resolved(&map, 1).await;
    assert_eq!((map.lookups.load(Ordering::SeqCst), found.endpoints.len()), (17, 16));
}

#[tokio::test]
async fn many_services_on_many_addresses_are_a_bounded_list() {
    let mut bindings: Vec<Binding> = (1..30).map(address).collect();
    bindings.extend((1..30).map(|port| Binding::Service(service("https", port, Target::Own))));
    assert_eq!(resolved(&map(vec![(1, bindings)]), 1).await.endpoints.len(), 64);
}

#[tokio::test]
async fn each_name_is_looked_up_once_however_many_lead_to_it() {
    let services = (1..=10).map(|port| Binding::Service(service("https", port, at(2)))).collect();
    let map = map(vec![(1, services), (2, vec![address(2)])]);
    assert_eq!(resolved(&map, 1).await.endpoints.len(), 10);
    assert_eq!(map.lookups.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn lower_priorities_come_first_and_weights_are_shares() {
    let map = map(vec![(
        1,
        vec![
            address_of(1, 10, 0),
            address_of(2, 5, 30),
            address_of(3, 5, 10),
            address_of(4, 0, 1),
        ],
    )]);
    let mut second = HashMap::new();
    for seed in 0..400 {
        let options = ResolveOptions {
            seed,
            ..ResolveOptions::default()
        };
        let found = resolve(&map, &name(1), &options).await.unwrap();
        let places = places(&found.endpoints);
        assert_eq!((places[0].as_str(), places[3].as_str()), ("192.0.2.4", "192.0.2.1"));
        *second.entry(places[1].clone()).or_insert(0) += 1;
        let again = resolve(&map, &name(1), &options).await.unwrap();
        assert_eq!(found, again, "the same seed, the same order");
    }
    let heavy = second["192.0.2.2"];
    assert!((250..350).contains(&heavy), "three in four of 400, not {heavy}");
}

#[tokio::test]
async fn trouble_further_on_is_told_and_takes_nothing_else_with_it() {
    let mut map = map(vec![
        (
            1,
            vec![
                Binding::Service(service("https", 443, at(2))),
                Binding::Service(service("https", 444, at(3))),
                Binding::Service(service("https", 445, at(4))),
            ],
        ),
        (4, vec![address(4)]),
    ]);
    map.records.insert(name(2), Err(LookupError::RolledBack));
    let found = resolved(&map, 1).await;
    assert_eq!(places(&found.endpoints), ["192.0.2.4:445"]);
    let said: Vec<_> = found.tree.children.iter().map(|child| &child.said).collect();
    assert!(matches!(
        said[..],
        [Said::Failed(LookupError::RolledBack), Said::Absent { .. }, Said::Record { .. }]
    ));
    assert_eq!(found.ttl, Ttl(5), "as long as the least of what it was made of");
}

#[tokio::test]
async fn nothing_is_said_about_a_name_that_cannot_be_looked_up() {
    let mut map = Map::default();
    map.records.insert(name(1), Err(LookupError::Expired));
    let error = resolve(&map, &name(1), &ResolveOptions::default()).await.unwrap_err();
    assert!(matches!(
        error,
        ResolveError::Lookup {
            error: LookupError::Expired,
            ..
        }
    ));
    let absent = resolved(&map, 2).await;
    assert!(absent.endpoints.is_empty() && matches!(absent.tree.said, Said::Absent { .. }));
}
