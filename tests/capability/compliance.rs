//! RFC 8906's probes: what a DNS server must make of every flag, option, opcode and version that it does not know.

use crate::support::{ProviderProcess, Ran, Tool, World};

/// What is asked, what the answer must say, and what it must not.
type Probe = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

#[test]
fn a_provider_answers_each_of_the_probes_of_rfc_8906_as_it_should() {
    let Some(dig) = Tool::find("dig") else { return };
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    let (host, port) = provider.dns();
    let ask = |more: &[&str]| -> Ran {
        let at = format!("@{host}");
        dig.run([&[at.as_str(), "-p", &port, "+norec", "+tries=1", "+time=20"], more].concat())
    };
    for (what, args, says, says_not) in PROBES {
        let said = ask(args);
        for text in *says {
            assert!(said.stdout.contains(text), "{what}: should say {text:?}\n{said}");
        }
        for text in *says_not {
            assert!(!said.stdout.contains(text), "{what}: should not say {text:?}\n{said}");
        }
    }
}

/// RFC 8906 §8.1 and §8.2, in its order, with the answers that it gives for right.
const PROBES: &[Probe] = &[
    (
        "plain DNS",
        &["+noedns", "+noad", "dialtone.alt", "SOA"],
        &["status: NOERROR", " aa", "\tSOA\t"],
        &["EDNS"],
    ),
    (
        "an unknown type",
        &["+noedns", "+noad", "dialtone.alt", "TYPE1000"],
        &["status: NOERROR", " aa", "ANSWER: 0", "\tSOA\t"],
        &["EDNS"],
    ),
    (
        "CD",
        &["+noedns", "+noad", "+cdflag", "dialtone.alt", "SOA"],
        &["status: NOERROR", "\tSOA\t"],
        &[],
    ),
    (
        "AD",
        &["+noedns", "+adflag", "dialtone.alt", "SOA"],
        &["status: NOERROR", "\tSOA\t"],
        &[" ad;"],
    ),
    (
        "the reserved bit",
        &["+noedns", "+noad", "+zflag", "dialtone.alt", "SOA"],
        &["status: NOERROR", "\tSOA\t"],
        &["MBZ"],
    ),
    (
        "RD",
        &["+noedns", "+noad", "+rec", "dialtone.alt", "SOA"],
        &["status: NOERROR", "\tSOA\t"],
        &[],
    ),
    (
        "an unknown opcode",
        &["+noedns", "+noad", "+opcode=15", "+header-only"],
        &["status: NOTIMP", "opcode: RESERVED15"],
        &["\tSOA\t"],
    ),
    (
        "TCP",
        &["+noedns", "+noad", "+tcp", "dialtone.alt", "SOA"],
        &["status: NOERROR", "\tSOA\t"],
        &[],
    ),
    (
        "EDNS",
        &["+edns=0", "+nocookie", "+noad", "dialtone.alt", "SOA"],
        &["status: NOERROR", "EDNS: version: 0", "\tSOA\t"],
        &[],
    ),
    (
        "EDNS version 1",
        &["+edns=1", "+noednsneg", "+nocookie", "+noad", "dialtone.alt", "SOA"],
        &["status: BADVERS", "EDNS: version: 0"],
        &["\tSOA\t"],
    ),
    (
        "an unknown option",
        &["+edns=0", "+nocookie", "+noad", "+ednsopt=100", "dialtone.alt", "SOA"],
        &["status: NOERROR", "EDNS: version: 0", "\tSOA\t"],
        &["OPT=100"],
    ),
    (
        "unknown EDNS flags",
        &["+edns=0", "+nocookie", "+noad", "+ednsflags=0x40", "dialtone.alt", "SOA"],
        &["status: NOERROR", "\tSOA\t"],
        &["MBZ"],
    ),
    (
        "version 1 with unknown flags",
        &[
            "+edns=1",
            "+noednsneg",
            "+nocookie",
            "+noad",
            "+ednsflags=0x40",
            "dialtone.alt",
            "SOA",
        ],
        &["status: BADVERS", "EDNS: version: 0"],
        &["MBZ"],
    ),
    (
        "version 1 with an unknown option",
        &["+edns=1", "+noednsneg", "+nocookie", "+noad", "+ednsopt=100", "dialtone.alt", "SOA"],
        &["status: BADVERS", "EDNS: version: 0"],
        &["OPT=100"],
    ),
    (
        "DO",
        &["+edns=0", "+nocookie", "+noad", "+dnssec", "dialtone.alt", "SOA"],
        &["status: NOERROR", "EDNS: version: 0, flags: do;", "\tSOA\t"],
        &[],
    ),
    (
        "version 1 with DO",
        &["+edns=1", "+noednsneg", "+nocookie", "+noad", "+dnssec", "dialtone.alt", "SOA"],
        &["status: BADVERS", "EDNS: version: 0"],
        &[],
    ),
    (
        "several options",
        &[
            "+edns=0",
            "+noad",
            "+cookie",
            "+nsid",
            "+expire",
            "+subnet=192.0.2.0/24",
            "dialtone.alt",
            "SOA",
        ],
        &["status: NOERROR", "EDNS: version: 0", "\tSOA\t"],
        &[],
    ),
];
