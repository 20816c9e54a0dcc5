//! What is said of a network from its agreements alone is what happens in it.

use super::in_worlds;
use dialtone_provider::peering::agreement::{Agreement, Agreements, Filter};
use dialtone_provider::peering::ask::desk::Reply;
use dialtone_provider::peering::network::{Cause, Finding, How, Network};
use dialtone_shared::Name;
use dialtone_shared::message::{Mode, Relationship};
use dialtone_world::{BEGIN, World, record};
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A few providers with links, roles, modes and lists by chance.
fn any_network(seed: u64) -> World {
    let mut rng: StdRng = rand::SeedableRng::seed_from_u64(seed);
    let nodes = rng.random_range(3..7);
    let density = rng.random_range(0.3..0.8);
    let all = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b)));
    let pairs: Vec<_> = all.filter(|_| rng.random_bool(density)).collect();
    let (mute, lists) = (rng.random_range(0.0..0.3), rng.random_bool(0.3));
    let mut agreed: BTreeMap<(usize, usize), Agreement> = BTreeMap::new();
    for (a, b) in pairs.iter().copied() {
        let role = match rng.random_range(0..8) {
            0..3 => Relationship::Mutual,
            3..5 => Relationship::Customer,
            5 => Relationship::Upstream,
            _ => Relationship::Peer,
        };
        for (one, other, relationship) in [(a, b, role), (b, a, role.mirrored())] {
            let mut agreement = Agreement::mutual(Name::key_set([0; 32]), Vec::new());
            agreement.relationship = relationship;
            agreement.push = [Mode::Values, Mode::Pointers, Mode::None, Mode::Digest][rng.random_range(0..4)];
            (agreement.asks, agreement.answers) = (!rng.random_bool(mute), !rng.random_bool(mute));
            if lists && rng.random_bool(0.2) {
                let shut = rng.random_range(0..nodes as u32);
                agreement.filter = Filter::new(BTreeSet::new(), [*of(shut).name()].into(), true);
            }
            agreed.insert((one, other), agreement);
        }
    }
    let mut world = World::with_terms(seed, nodes, &pairs, |own, other, agreement| {
        let peer = agreement.peer;
        *agreement = Agreement {
            peer,
            ..agreed[&(own, other)].clone()
        };
    })
    .asking();
    world.run(Duration::from_secs(10));
    world
}

fn of(index: u32) -> dialtone_shared::VerifiedRecord {
    record(index, dialtone_shared::UnixMicros(BEGIN * 1_000_000), &[], false)
}

#[test]
fn a_name_resolves_where_the_agreements_say_and_nowhere_else() {
    in_worlds("a_name_resolves_where_the_agreements_say_and_nowhere_else", |seed| {
        (seed * 5..seed * 5 + 5).for_each(as_agreed);
    });
}

#[test]
fn a_pointer_that_makes_what_is_held_a_customer_s_brings_it_to_all_whom_it_is_for() {
    // In each somebody holds what was learnt by value from one, and is told of it by pointer from another, to whom it is more.
    [280, 652, 854, 870, 1_300, 3_382, 3_709].into_iter().for_each(as_agreed);
}

#[test]
fn who_is_slow_and_then_cannot_say_is_asked_again_with_enough_to_ask_others() {
    // Somebody asks for a peer, is sent on by a digest, and asks the rest before it hears that who had it in its digest could not ask all.
    as_agreed(7_661);
}

#[test]
fn a_keeper_that_holds_it_for_others_leaves_enough_to_ask_who_told_of_it() {
    // Somebody asks for a peer, is sent to a keeper whose `peer` it is, and hears that there is nothing; who told of it is given it.
    as_agreed(25_537);
}

/// In this network each name is where the agreements say.
fn as_agreed(seed: u64) {
    let mut world = any_network(seed);
    let agreed = world.nodes.iter().map(|node| (node.name, Agreements::clone(&node.agreements)));
    let network = Network::new(agreed.collect());
    let nodes = world.nodes.len();
    for origin in 0..nodes {
        world.put_all(origin, vec![of(origin as u32)]);
    }
    world.run(Duration::from_secs(20));
    for origin in 0..nodes {
        let put = of(origin as u32);
        let said = network.resolves(&world.nodes[origin].name, put.name());
        for at in 0..nodes {
            let name = world.nodes[at].name;
            let held = world.held(at, put.name()).is_some();
            assert_eq!(
                held,
                said.get(&name) == Some(&How::Held),
                "network {seed}: of {origin}, held at {at}"
            );
            let answer = world.answer(at, *put.name());
            let found = matches!(answer, Reply::Record(_));
            assert_eq!(
                found,
                said.contains_key(&name),
                "network {seed}: of {origin}, asked for at {at}: {answer:?}"
            );
        }
    }
}

/// Providers 1, 2, … and what the first of each pair says of the second.
fn network(agreed: &[(u8, u8, Relationship)]) -> Network {
    let name = |index: u8| Name::key_set([index; 32]);
    let mut providers: BTreeMap<Name, Agreements> = BTreeMap::new();
    for (one, other, relationship) in agreed {
        for (one, other, relationship) in [(*one, *other, *relationship), (*other, *one, relationship.mirrored())] {
            let agreement = Agreement {
                relationship,
                ..Agreement::mutual(name(other), vec!["a.example:1".to_owned()])
            };
            providers.entry(name(one)).or_default().insert(name(other), agreement);
        }
    }
    Network::new(providers)
}

fn only(findings: Vec<Finding>) -> Finding {
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.into_iter().next().expect("one")
}

#[test]
fn what_peers_tell_is_not_passed_on_to_peers_and_who_is_to_change_what_is_said() {
    use Relationship::{Customer, Peer};
    let name = |index: u8| Name::key_set([index; 32]);
    let findings = network(&[(1, 2, Peer), (2, 3, Peer)]).findings();
    assert_eq!(findings.len(), 2, "{findings:#?}");
    assert!(
        findings
            .iter()
            .all(|finding| finding.provider == name(2) && finding.pairs.len() == 1)
    );
    assert_eq!((&findings[0].cause, findings[0].peer), (&Cause::Valley(Some(name(1))), name(3)));
    let (says, help) = (findings[0].to_string(), findings[0].remedy());
    assert!(
        says.contains("neither is its customer") && says.contains(&name(1).to_string()),
        "{says}"
    );
    assert!(
        help.contains("peer with each other") && help.contains(&name(3).to_string()),
        "{help}"
    );
    // Where they all peer with one another, or have one above them, it is good.
    assert_eq!(network(&[(1, 2, Peer), (2, 3, Peer), (1, 3, Peer)]).findings(), []);
    assert_eq!(network(&[(2, 1, Customer), (2, 3, Customer)]).findings(), []);
    // A customer's upstream has peers alone, and the peer has others.
    let findings = network(&[(2, 1, Customer), (2, 3, Peer), (3, 4, Peer), (4, 5, Customer)]).findings();
    assert!(
        findings
            .iter()
            .all(|finding| matches!(finding.cause, Cause::Valley(_)) && finding.provider == name(3)),
        "{findings:#?}"
    );
}

#[test]
fn links_that_do_not_stand_and_ones_that_carry_nothing_are_named_with_the_side_that_is_to_act() {
    let name = |index: u8| Name::key_set([index; 32]);
    let change = |change: &dyn Fn(&mut Agreement, &mut Agreement)| {
        let mut providers: BTreeMap<Name, Agreements> = BTreeMap::new();
        let [mut one, mut two] = [2, 1].map(|peer| Agreement::mutual(name(peer), vec!["a.example:1".to_owned()]));
        change(&mut one, &mut two);
        providers.insert(name(1), Agreements::from([(name(2), one)]));
        providers.insert(name(2), Agreements::from([(name(1), two)]));
        providers
    };
    assert_eq!(Network::new(change(&|_, _| {})).findings(), []);
    let mut one_sided = change(&|_, _| {});
    one_sided.insert(name(2), Agreements::new());
    let causes = |findings: &[Finding]| findings.iter().map(|finding| finding.cause.clone()).collect::<Vec<_>>();
    let findings = Network::new(one_sided).findings();
    assert_eq!(
        (causes(&findings), findings[0].provider),
        (vec![Cause::OneSided, Cause::Apart, Cause::Apart], name(2))
    );
    let contradiction = change(&|one, _| one.relationship = Relationship::Customer);
    let expected = Cause::Contradiction(Relationship::Customer, Relationship::Mutual);
    assert_eq!(causes(&Network::new(contradiction).findings())[0], expected);
    let nobody = change(&|one, two| (one.endpoints, two.endpoints) = (Vec::new(), Vec::new()));
    assert_eq!(only(Network::new(nobody).findings()).cause, Cause::NobodyDials);
    let silent = change(&|one, _| (one.push, one.answers) = (Mode::None, false));
    let silent = only(Network::new(silent).findings());
    assert_eq!(
        (silent.cause, silent.provider, silent.peer, silent.pairs),
        (Cause::Silence, name(1), name(2), vec![(name(1), name(2))])
    );
    let asked = change(&|one, _| one.push = Mode::None);
    assert_eq!(Network::new(asked).findings(), [], "what is not pushed is asked for");
    let shut = name(9);
    let filter = change(&|_, two| two.filter = Filter::new(BTreeSet::new(), [shut].into(), true));
    let findings = Network::new(filter).findings();
    assert!(
        findings
            .iter()
            .all(|finding| finding.cause == Cause::Filter && finding.name == Some(shut)),
        "{findings:#?}"
    );
    assert_eq!(findings.len(), 2, "each way");
}
