//! The dashboard's files and paths, as the server answers them; what the page does is tested in a browser.

use crate::support::Meter;

/// Paths of the page; each is answered by it where this binary has it, and by a problem where it has not.
const PAGES: [&str; 5] = ["/usage", "/billing/plan", "/webhooks/wh_1", "/operator/projects/demo", "/sign-in"];

#[tokio::test]
async fn a_page_is_answered_at_its_paths_and_nothing_but_itself_may_show_it() {
    let meter = Meter::start().await;
    let first = meter.send("GET", "/", &[("accept", "text/html")], "").await;
    let is_built = first.body.contains("<script type=\"module\" src=\"/assets/");
    for path in PAGES {
        let page = meter.send("GET", path, &[("accept", "text/html")], "").await;
        if !is_built {
            assert_eq!((page.status, &page.value()["code"]), (404, &"not_found".into()), "{path}");
            continue;
        }
        assert_eq!((page.status, page.header("cache-control")), (200, Some("no-cache")), "{path}");
        assert_eq!(page.body, first.body, "{path}");
        let policy = page.header("content-security-policy").unwrap();
        for rule in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(rule), "{policy}");
        }
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        let tag = page.header("etag").unwrap().to_owned();
        let again = meter.send("GET", path, &[("if-none-match", &tag)], "").await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
    }
    for path in
        ["/api/v1/nothing", "/errors/nothing", "/ingest/x", "/usages", "/assets/index.html", "/assets/x.js"]
    {
        let other = meter.send("GET", path, &[("accept", "text/html")], "").await;
        assert_eq!(
            (other.status, other.header("content-type")),
            (404, Some("application/problem+json")),
            "{path}"
        );
    }
    let post = meter.send("POST", "/usage", &[("content-length", "0")], "").await;
    assert_eq!(post.status, 404);
}

#[tokio::test]
async fn files_that_are_named_by_their_hashes_are_kept() {
    let meter = Meter::start().await;
    let page = meter.send("GET", "/", &[("accept", "text/html")], "").await.body;
    let names = page.split("\"/assets/").skip(1).map(|rest| rest.split('"').next().unwrap());
    for name in names {
        let file = meter.send("GET", &format!("/assets/{name}"), &[], "").await;
        let kept = if name == "icon.svg" { "max-age=86400" } else { "public, max-age=31536000, immutable" };
        assert_eq!((file.status, file.header("cache-control")), (200, Some(kept)), "{name}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{name}");
        let small = meter.send("HEAD", &format!("/assets/{name}"), &[("accept-encoding", "gzip")], "").await;
        assert_eq!(small.header("content-encoding"), Some("gzip"), "{name}");
    }
}
