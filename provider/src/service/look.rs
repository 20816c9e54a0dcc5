//! The page at which anyone looks at a name: its layers drawn, and each signature checked by their own browser.
//!
//! ```text
//! /look              the page                      clients/js/look/index.html
//! /look/page/FILE    what it consists of           clients/js/look/FILE
//! /look/src/FILE     the client that it runs       clients/js/src/FILE
//! ```
//!
//! Nothing on it is from elsewhere, and its policy lets nothing be: scripts and styles of this origin alone, and questions to this provider.
//! It is in the binary, so it is always of the version that serves it.

use super::problem::Refusal;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

/// `GET /`: a person, most likely.
pub async fn home() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    // Relative: behind a proxy the provider may stand at a path of its own.
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("look"));
    response
}

/// `GET /look`.
pub async fn page() -> Response<Body> {
    served(HTML, include_str!("../../../clients/js/look/index.html"))
}

/// `GET /look/{folder}/{file}`.
pub async fn file(Path((folder, file)): Path<(String, String)>) -> Response<Body> {
    let wanted = FILES.iter().find(|(in_folder, name, _)| *in_folder == folder && *name == file);
    match wanted {
        Some((_, name, text)) => served(media_type(name), text),
        None => Refusal::NoSuchPath(format!("/look/{folder}/{file}")).into_response(),
    }
}

/// Whether a page of some origin reads what is open to everybody: browsers tell them apart by the header `Origin`.
pub fn is_read_by_a_page<T>(request: &Request<T>) -> bool {
    request.method() == Method::GET && request.headers().contains_key(header::ORIGIN) && request.uri().path().starts_with("/v1/")
}

/// Lets it read the answer, wherever it is from: records say the same to everybody, and are believed by nobody for who hands them out.
pub fn open_to_pages(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let exposed = HeaderValue::from_static("dialtone-problem, etag, retry-after");
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}

fn served(media_type: &'static str, text: &'static str) -> Response<Body> {
    let mut response = super::answer(text, media_type);
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn media_type(file: &str) -> &'static str {
    match file.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    }
}

const HTML: &str = "text/html; charset=utf-8";

const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // The next version of the binary has other files, which must not be mixed with these.
    (header::CACHE_CONTROL, "no-cache"),
];

macro_rules! files {
    ($($folder:literal, $at:literal: $($file:literal)*;)*) => {
        [$($(($folder, $file, include_str!(concat!("../../../clients/js/", $at, "/", $file))),)*)*]
    };
}

/// Folder in the URL, file, and what is in it.
const FILES: [(&str, &str, &str); 32] = files! {
    "page", "look":
        "checks.js" "details.js" "drawing.js" "elements.js" "icon.svg" "look.css" "look.js" "words.js";
    "src", "src":
        "addresses.js" "bindings.js" "bytes.js" "cbor.js" "curve.js" "ed25519.js" "envelope.js" "errors.js" "floor.js" "hip.js" "index.js" "keccak.js" "keys.js" "layers.js" "name.js" "provider.js" "rank.js" "rdata.js" "receipts.js" "record.js" "resolver.js" "sha2.js" "signed.js" "z32.js";
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_of_the_page_and_of_the_client_is_served() {
        let at = |folder: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/js").join(folder);
        for (folder, at) in [("page", at("look")), ("src", at("src"))] {
            let there: BTreeSet<String> = std::fs::read_dir(at)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name != "index.html")
                .collect();
            let served: BTreeSet<String> = FILES.iter().filter(|file| file.0 == folder).map(|file| file.1.to_owned()).collect();
            assert_eq!(served, there);
        }
    }

    #[test]
    fn the_page_takes_nothing_from_elsewhere_and_has_nothing_in_line() {
        let page = include_str!("../../../clients/js/look/index.html");
        for (_, name, text) in FILES.iter().filter(|file| file.0 == "page").chain([&("page", "index.html", page)]) {
            let elsewhere = ["http:", "https:", "//cdn", "innerHTML", " style=", "eval("];
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for found in elsewhere {
                assert!(!text.contains(found), "{name} has {found}");
            }
        }
        assert!(!page.contains("<style") && page.matches("<script").count() == 1);
    }

    #[tokio::test]
    async fn what_is_not_there_is_told_as_everywhere() {
        let missing = file(Path(("src".to_owned(), "../secret".to_owned()))).await;
        assert_eq!(missing.status(), 404);
        let there = file(Path(("src".to_owned(), "name.js".to_owned()))).await;
        assert_eq!(there.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        let policy = page().await.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
    }

    #[test]
    fn only_reading_is_open_to_pages_of_other_origins() {
        let request = |method: &str, path: &str, origin: bool| {
            let mut request = Request::builder().method(method).uri(path);
            if origin {
                request = request.header("origin", "https://elsewhere.example");
            }
            is_read_by_a_page(&request.body(()).unwrap())
        };
        assert!(request("GET", "/v1/records/x", true));
        assert!(!request("GET", "/v1/records/x", false));
        assert!(!request("PUT", "/v1/records/x", true));
        assert!(!request("GET", "/metrics", true));
    }
}
