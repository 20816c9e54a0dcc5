//! Whom to ask for a name, in which order, and whose silence says enough.
//!
//! ```text
//! a pointer says who keeps it            ─▶ its keeper, then who told us         one after the other
//! a digest has the name                  ─▶ those peers                          one after the other
//! neither, and its silence proves nothing ─▶ those peers                         all at once
//! its silence proves that it has nothing  ─▶ nobody: see `is_proof`
//! it would have to be asked, and cannot be ─▶ nobody, and an absence is not certain
//! ```

use super::limits::FETCHES_MAX;
use crate::peering::policy;
use crate::store::{Class, Pointer};
use dialtone_shared::Name;
use dialtone_shared::message::{Mode, Reach, Relationship, WHOLE, mark};
use std::cmp::Reverse;
use std::time::Duration;

/// On whose behalf a question is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behalf {
    /// A client of ours.
    Client,
    /// A peer that is this to us.
    Of(Relationship),
}

impl Behalf {
    /// Whether somebody who is `to` to us may be asked: for clients, customers, mutual peers and siblings anybody, for others customers
    /// only, free of valleys as records are.
    pub fn may_ask(self, to: Relationship) -> bool {
        match self {
            Self::Client => true,
            // A question goes where the answer comes from: what would be learnt there must be for whoever asks.
            Self::Of(asker) => policy::exports(asker, policy::class_from(to)),
        }
    }

    /// Whether a record that was learnt as `class` is for whoever asks.
    pub fn may_know(self, class: Class) -> bool {
        match self {
            Self::Client => true,
            Self::Of(asker) => policy::exports(asker, class),
        }
    }
}

/// A peer, as it stands for one name.
#[derive(Clone, Debug)]
pub struct View {
    /// Who.
    pub peer: Name,
    /// What it is to us.
    pub relationship: Relationship,
    /// Whether a link stands.
    pub linked: bool,
    /// In what form it pushes to us, in effect.
    pub pushes: Mode,
    /// Whether all that it pushes has arrived and was taken, a moment ago at the latest.
    pub complete: bool,
    /// Whether its digest has the name; `None`: there is none that is up to date.
    pub digest: Option<bool>,
    /// What lies behind it, as it says.
    pub reach: Option<Reach>,
    /// Whether our agreement keeps the name from the link: it is neither told of there nor asked for.
    pub shut: bool,
    /// Whether a filter may keep from us what it holds of the name: what it does not tell, it may hold.
    pub filtered: bool,
    /// Whether it is asked: both agreements allow it.
    pub asked: bool,
    /// It has failed so often that it is left in peace for a moment.
    pub aside: bool,
    /// How often it has what is asked for: more is better.
    pub merit: u8,
    /// How long it usually takes.
    pub usual: Duration,
}

/// Somebody to ask.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Who.
    pub peer: Name,
    /// What sends us there.
    pub hint: Hint,
    /// How long it usually takes.
    pub usual: Duration,
    /// What lies behind it, as it says.
    pub reach: Option<Reach>,
    /// Whether it gives to others what it does not give to us, and does not say so: then those are not told to leave it out.
    pub selective: bool,
    /// Whether a filter may keep the name from us: then it says so, and those are asked again who were told to leave it out.
    pub filtered: bool,
}

/// What sends us to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hint {
    /// A pointer.
    Pointer,
    /// Its digest.
    Digest,
    /// Nothing but that it may know.
    None,
}

/// Whom to ask.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Those to whom something sends us, best first.
    pub directed: Vec<Candidate>,
    /// The others, best first.
    pub rest: Vec<Candidate>,
    /// Those whose silence is enough.
    pub silent: Vec<u64>,
    /// Why an absence is not certain, whatever those say who are asked.
    pub doubt: Option<String>,
}

/// Plans whom to ask. `visited`: who has been asked, or will be, by those who ask us. `has`: a record is at hand, and it is asked whether it is
/// the newest.
pub fn plan(behalf: Behalf, visited: &[u64], pointer: Option<&Pointer>, views: &[View], has: bool) -> Plan {
    let mut plan = Plan::default();
    let ours: Vec<_> = views.iter().filter(|view| behalf.may_ask(view.relationship)).collect();
    // Each of these is asked, or its silence is enough, and what it says to us it says to all; so whoever would ask only these need not be asked for their sake. Whom
    // we cannot ask, and who may hold it, another may ask for us.
    let sees_to = |view: &View, one: &u64| counts(view) && !view.shut && !keeps_back(view) && mark(&view.peer) == *one;
    let asked = |one: &u64| {
        let asks = |view: &&&View| view.linked && view.asked && !view.aside;
        visited.contains(one) || ours.iter().filter(asks).any(|view| sees_to(view, one))
    };
    let covered = |one: &u64| asked(one) || ours.iter().any(|view| sees_to(view, one) && is_proof(view, has, &asked));
    let mut doubt = |why: String| {
        plan.doubt.get_or_insert(why);
    };
    for view in &ours {
        let peer = view.peer;
        if view.relationship == Relationship::Sibling && behalf != Behalf::Client {
            // The same name as ours: for the one who asks it is us. It is not asked, but what we may not have of it yet counts. A node of ours that asks
            // knows whom the others would ask; but we may be the only one that it reaches.
            let has_told = match behalf {
                Behalf::Of(Relationship::Sibling) => has || view.complete,
                Behalf::Of(_) | Behalf::Client => is_proof(view, has, &covered),
            };
            if !has_told {
                doubt("another node of this provider may hold it, or knows whom to ask".to_owned());
            }
            continue;
        }
        if visited.contains(&mark(&peer)) {
            continue;
        }
        if view.shut {
            // What is at hand and was pushed by value came by another way, and its next version will.
            if counts(view) && !(has && view.pushes == Mode::Values) {
                doubt(format!(
                    "the agreement with the peer {peer} does not let the name pass, and it may hold it"
                ));
            }
            continue;
        }
        let hint = match pointer {
            Some(pointer) if pointer.keeper == peer || pointer.from == peer => Hint::Pointer,
            _ if view.digest == Some(true) => Hint::Digest,
            _ => Hint::None,
        };
        let candidate = Candidate {
            peer,
            hint,
            usual: view.usual,
            reach: view.reach.clone(),
            selective: !gives_all(view),
            filtered: view.filtered,
        };
        // Where something is said to be somewhere, nobody's silence says that it is not: it may have been told by another first.
        if hint == Hint::None && pointer.is_none() && is_proof(view, has, &covered) {
            plan.silent.extend((!keeps_back(view)).then(|| mark(&peer)));
        } else if view.linked && view.asked && view.aside {
            doubt(format!("the peer {peer} does not answer"));
        } else if view.linked && view.asked && hint == Hint::None {
            plan.rest.push(candidate);
        } else if view.linked && view.asked {
            plan.directed.push(candidate);
        } else if hint != Hint::None {
            doubt(format!("the peer {peer} may hold it and cannot be asked"));
        } else if counts(view) {
            let why = match (view.linked, view.complete) {
                (false, _) => "does not stand",
                (true, false) => "has not caught up",
                (true, true) => "does not let everything pass",
            };
            doubt(format!("the link with the peer {peer} {why}, and it may hold the name"));
        }
    }
    let worth = |one: &Candidate| {
        (
            Reverse(views.iter().find(|view| view.peer == one.peer).map_or(0, |view| view.merit)),
            one.usual,
        )
    };
    plan.directed.sort_by_key(|one| {
        let keeps = pointer.is_some_and(|pointer| pointer.keeper == one.peer);
        (one.hint != Hint::Pointer, !keeps, worth(one))
    });
    plan.rest.sort_by_key(worth);
    // What is left of those goes with the rest: asked all at once rather than one after the other for ever.
    let many = plan.directed.split_off(plan.directed.len().min(usize::from(FETCHES_MAX)));
    plan.rest.splice(0..0, many);
    if let Some(pointer) = pointer
        && plan.directed.iter().all(|one| one.hint != Hint::Pointer)
    {
        let keeper = pointer.keeper;
        plan.doubt
            .get_or_insert_with(|| format!("the provider {keeper} is said to keep it and cannot be asked"));
    }
    plan
}

/// Whether the peer may give to others what it does not give to us: for a filter, or because we are not its customer.
fn keeps_back(view: &View) -> bool {
    view.filtered || !gives_all(view)
}

/// Whether we are told whatever others are told, but for filters.
fn gives_all(view: &View) -> bool {
    matches!(
        view.relationship,
        Relationship::Mutual | Relationship::Upstream | Relationship::Sibling
    )
}

/// Whether an absence depends on this peer at all: it pushes what it has, or it may be asked.
fn counts(view: &View) -> bool {
    view.asked || view.pushes >= Mode::Pointers
}

/// Whether what the peer has not told us of, and no filter may have kept from us, nobody holds whom asking it would reach: we know what it holds, it knows what is behind it, and
/// whom it would have to ask we have in view ourselves. What is at hand and pushed by value is as new as it gets: it is not asked about because
/// a link is behind.
fn is_proof(view: &View, has: bool, covered: &impl Fn(&u64) -> bool) -> bool {
    let knows = match view.pushes {
        Mode::Values => view.complete || has,
        Mode::Pointers => view.complete,
        Mode::Digest => view.linked && view.complete && view.digest == Some(false),
        Mode::None => false,
    };
    let open = |reach: &Reach| has || (!view.filtered && reach.filtered >= WHOLE);
    let reaches = |reach: &Reach| reach.partial >= WHOLE && open(reach) && reach.asks.iter().all(covered);
    knows && view.reach.as_ref().is_some_and(reaches)
}

impl Candidate {
    /// How many may lie behind it, beside those `visited`: whom it says that it would ask, and as many again as are guessed to lie behind
    /// those; 0 if it says that nobody does.
    pub fn behind(&self, visited: &[u64]) -> usize {
        let Some(reach) = &self.reach else { return FURTHER };
        let asks = reach.asks.iter().filter(|mark| !visited.contains(mark)).count();
        // Whatever a filter may have kept from it, it has to ask for too.
        let knows_all = reach.partial >= WHOLE && reach.filtered >= WHOLE;
        if asks == 0 && knows_all { 0 } else { asks + FURTHER }
    }
}

/// How many are guessed to lie further off than a provider says: a long row must not be starved by a neighbour with many.
const FURTHER: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use Mode::{Digest, None as Nothing, Pointers, Values};
    use Relationship::{Customer, Mutual, Peer, Sibling, Upstream};
    use dialtone_shared::{UnixMicros, UnixSecs};

    fn name(index: u8) -> Name {
        Name::key_set([index; 32])
    }

    fn view(index: u8, pushes: Mode) -> View {
        View {
            peer: name(index),
            relationship: Mutual,
            linked: true,
            pushes,
            complete: true,
            digest: (pushes == Digest).then_some(false),
            reach: Some(Reach::whole()),
            shut: false,
            filtered: false,
            asked: true,
            aside: false,
            merit: 2,
            usual: Duration::from_millis(10),
        }
    }

    fn pointer(keeper: u8, teller: u8) -> Pointer {
        Pointer {
            epoch: 0,
            sequence: UnixMicros(100),
            digest: [1; 16],
            class: Class::Peer,
            keeper: name(keeper),
            from: name(teller),
            name: name(0),
            expiry: UnixSecs(1_000),
            keep_until: UnixSecs(1_000),
            joined: false,
            tag: None,
        }
    }

    /// Whom the plan asks: one after the other, all at once; and whether there is a doubt.
    fn asked(plan: &Plan) -> (Vec<u8>, Vec<u8>, bool) {
        let names = |many: &[Candidate]| many.iter().map(|one| one.peer.digest()[0]).collect();
        (names(&plan.directed), names(&plan.rest), plan.doubt.is_some())
    }

    fn plan_of(views: &[View]) -> (Vec<u8>, Vec<u8>, bool) {
        asked(&plan(Behalf::Client, &[], None, views, false))
    }

    #[test]
    fn the_keeper_comes_before_who_told_of_it_then_digests_then_all_others() {
        let hit = View {
            digest: Some(true),
            ..view(3, Digest)
        };
        let views = [view(1, Nothing), hit, view(4, Pointers), view(5, Nothing)];
        let plan = plan(Behalf::Client, &[], Some(&pointer(5, 4)), &views, false);
        assert_eq!(asked(&plan), (vec![5, 4, 3], vec![1], false));
    }

    #[test]
    fn who_had_it_oftener_is_asked_first_then_who_is_quicker() {
        let with = |index, merit, millis| View {
            merit,
            usual: Duration::from_millis(millis),
            ..view(index, Nothing)
        };
        let views = [with(1, 2, 50), with(2, 4, 90), with(3, 2, 10), with(4, 0, 1)];
        assert_eq!(plan_of(&views).1, [2, 3, 1, 4]);
    }

    #[test]
    fn the_silence_of_who_pushes_all_it_has_and_all_behind_it_is_proof() {
        for mode in [Values, Pointers, Digest] {
            assert_eq!(plan_of(&[view(1, mode)]), (vec![], vec![], false), "{mode}");
        }
        assert_eq!(plan_of(&[view(1, Nothing)]), (vec![], vec![1], false));
        let behind = View {
            complete: false,
            ..view(1, Values)
        };
        assert_eq!(plan_of(&[behind]), (vec![], vec![1], false), "its own no is as good");
        let behind = View {
            complete: false,
            linked: false,
            ..view(1, Values)
        };
        assert_eq!(
            asked(&plan(Behalf::Client, &[], None, &[behind], true)),
            (vec![], vec![], false),
            "a record is at hand"
        );
        let old = View {
            digest: None,
            ..view(1, Digest)
        };
        assert_eq!(plan_of(&[old]).1, [1]);
    }

    #[test]
    fn who_has_others_to_ask_is_asked_unless_we_see_to_them_ourselves() {
        let reaching = |index, mode, asks: &[u8], partial| View {
            reach: Some(Reach {
                asks: asks.iter().map(|index| mark(&name(*index))).collect(),
                partial,
                filtered: WHOLE,
            }),
            ..view(index, mode)
        };
        assert_eq!(plan_of(&[reaching(1, Values, &[9], WHOLE)]).1, [1], "9 is behind it");
        assert_eq!(plan_of(&[reaching(1, Values, &[], 3)]).1, [1], "somebody is behind it");
        assert_eq!(
            plan_of(&[reaching(1, Digest, &[2], WHOLE), reaching(2, Digest, &[1], WHOLE)]).1,
            [0_u8; 0]
        );
        assert_eq!(plan_of(&[reaching(1, Digest, &[2], WHOLE), view(2, Nothing)]).1, [2]);
        let unknown = View {
            reach: None,
            ..view(1, Values)
        };
        assert_eq!(plan_of(&[unknown]).1, [1]);
        // On behalf of who sees to 9 itself.
        let visited = [mark(&name(9))];
        let plan = plan(Behalf::Client, &visited, None, &[reaching(1, Digest, &[9], WHOLE)], false);
        assert_eq!(asked(&plan), (vec![], vec![], false));
    }

    #[test]
    fn an_absence_is_not_certain_while_somebody_who_counts_cannot_be_asked() {
        let away = |mode, complete, asked| View {
            linked: false,
            digest: None,
            complete,
            asked,
            ..view(1, mode)
        };
        assert_eq!(plan_of(&[away(Nothing, true, true)]), (vec![], vec![], true));
        assert_eq!(plan_of(&[away(Digest, true, true)]), (vec![], vec![], true));
        assert_eq!(plan_of(&[away(Values, false, true)]), (vec![], vec![], true));
        assert_eq!(plan_of(&[away(Values, true, true)]), (vec![], vec![], false), "gone a moment ago");
        assert_eq!(plan_of(&[away(Values, false, false)]), (vec![], vec![], true));
        assert_eq!(
            plan_of(&[away(Nothing, true, false)]),
            (vec![], vec![], false),
            "who pushes nothing and answers nothing does not count"
        );
        let aside = View {
            aside: true,
            ..view(1, Nothing)
        };
        assert_eq!(plan_of(&[aside]), (vec![], vec![], true));
        let kept = plan(Behalf::Client, &[], Some(&pointer(8, 8)), &[view(1, Values)], false);
        assert_eq!(asked(&kept), (vec![], vec![1], true), "its keeper is out of reach");
    }

    #[test]
    fn a_name_that_the_agreement_shuts_out_is_not_asked_for_and_its_absence_is_not_certain() {
        let shut = |mode| View {
            shut: true,
            digest: (mode == Digest).then_some(true),
            ..view(1, mode)
        };
        for mode in [Values, Pointers, Digest, Nothing] {
            let views = [shut(mode), view(2, Nothing)];
            let pointed = plan(Behalf::Client, &[], Some(&pointer(1, 2)), &views, false);
            assert_eq!(asked(&pointed), (vec![2], vec![], true), "{mode}");
            assert_eq!(plan_of(&views), (vec![], vec![2], true), "{mode}");
        }
        let no_link = View {
            asked: false,
            ..shut(Nothing)
        };
        assert_eq!(plan_of(&[no_link]), (vec![], vec![], false), "it does not count for any name");
        let held = |mode| asked(&plan(Behalf::Client, &[], None, &[shut(mode)], true));
        assert_eq!(held(Values), (vec![], vec![], false), "what is held came by another way");
        assert_eq!(held(Pointers), (vec![], vec![], true));
        let visited = [mark(&name(1))];
        assert!(
            plan(Behalf::Of(Mutual), &visited, None, &[shut(Values)], false).doubt.is_none(),
            "who asks sees to it"
        );
    }

    #[test]
    fn where_a_filter_may_keep_something_back_silence_is_no_proof_of_absence() {
        let filtered = |mode| View {
            filtered: true,
            ..view(1, mode)
        };
        let behind = |mode| View {
            reach: Some(Reach {
                filtered: 2,
                ..Reach::whole()
            }),
            ..view(1, mode)
        };
        for mode in [Values, Pointers, Digest] {
            assert_eq!(plan_of(&[filtered(mode)]), (vec![], vec![1], false), "{mode}: it can say itself");
            assert_eq!(plan_of(&[behind(mode)]), (vec![], vec![1], false), "{mode}: somebody behind it can");
            for view in [filtered(mode), behind(mode)] {
                let mute = View { asked: false, ..view };
                let doubts = mode != Digest;
                assert_eq!(plan_of(&[mute]), (vec![], vec![], doubts), "{mode}: and it is not to be asked");
            }
        }
        let held = plan(Behalf::Client, &[], None, &[filtered(Values), behind(Values)], true);
        assert_eq!(asked(&held), (vec![], vec![], false), "what passes is pushed as ever");
    }

    #[test]
    fn where_who_told_of_a_name_is_gone_all_others_are_asked_who_may_have_been_told_too() {
        let teller = View {
            linked: false,
            complete: false,
            ..view(1, Pointers)
        };
        let views = [teller, view(2, Pointers), view(3, Values)];
        assert_eq!(
            asked(&plan(Behalf::Client, &[], Some(&pointer(9, 1)), &views, false)),
            (vec![], vec![2, 3], true)
        );
    }

    #[test]
    fn who_was_visited_is_left_out() {
        let away = View {
            linked: false,
            ..view(2, Nothing)
        };
        let visited = [mark(&name(1)), mark(&name(2))];
        let plan = plan(
            Behalf::Of(Mutual),
            &visited,
            None,
            &[view(1, Nothing), away, view(3, Nothing)],
            false,
        );
        assert_eq!(asked(&plan), (vec![], vec![3], false));
    }

    #[test]
    fn questions_travel_free_of_valleys() {
        let all: Vec<_> = [Mutual, Customer, Upstream, Peer, Sibling]
            .into_iter()
            .zip(1..)
            .map(|(relationship, index)| View {
                relationship,
                ..view(index, Nothing)
            })
            .collect();
        let asks = |behalf| {
            plan(behalf, &[], None, &all, false)
                .rest
                .iter()
                .map(|one| one.peer.digest()[0])
                .collect::<Vec<_>>()
        };
        for behalf in [Behalf::Client, Behalf::Of(Customer), Behalf::Of(Mutual), Behalf::Of(Sibling)] {
            let siblings = if behalf == Behalf::Client { &[5][..] } else { &[] };
            assert_eq!(asks(behalf), [&[1, 2, 3, 4], siblings].concat(), "{behalf:?}");
        }
        for behalf in [Behalf::Of(Peer), Behalf::Of(Upstream)] {
            assert_eq!(asks(behalf), [2], "{behalf:?}");
        }
    }

    #[test]
    fn another_node_of_this_provider_is_not_asked_for_others_but_what_it_may_still_have_counts() {
        let sibling = |complete| View {
            relationship: Sibling,
            complete,
            ..view(1, Values)
        };
        let doubts = |behalf, complete| asked(&plan(behalf, &[mark(&name(1))], None, &[sibling(complete)], false));
        assert_eq!(doubts(Behalf::Of(Mutual), false), (vec![], vec![], true));
        assert_eq!(doubts(Behalf::Of(Mutual), true), (vec![], vec![], false));
        assert_eq!(doubts(Behalf::Of(Sibling), false), (vec![], vec![], true), "a third may hold it");
        assert_eq!(doubts(Behalf::Of(Sibling), true), (vec![], vec![], false));
    }

    #[test]
    fn who_cannot_be_asked_and_may_hold_it_is_asked_through_another() {
        let through = View {
            reach: Some(Reach {
                asks: vec![mark(&name(1))],
                ..Reach::whole()
            }),
            ..view(2, Values)
        };
        let mute = |partial| View {
            asked: false,
            reach: Some(Reach { partial, ..Reach::whole() }),
            ..view(1, Values)
        };
        assert_eq!(plan_of(&[mute(1), through.clone()]), (vec![], vec![2], true));
        assert_eq!(plan_of(&[mute(WHOLE), through]), (vec![], vec![], false), "its silence is enough");
    }
}
