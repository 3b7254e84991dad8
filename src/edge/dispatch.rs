//! The answer to any request: a code, a fixed path, a redirect to `https`, or a rejection.

use http::{Request, StatusCode};

use crate::{
    edge::{
        answer::{Accounting, Answer},
        code_answer,
        context::RequestContext,
        cors,
        hsts::hsts_header,
        pages::Page,
        scratch::ScratchBuffers,
        snapshot::Edge,
        target::{FixedPath, RequestTarget, RequestedHost},
    },
    links::domains::Domain,
};

impl Edge {
    /// Answers one request. If the answer's accounting is a click's, `scratch.click` holds the bytes of the click
    /// afterwards; the caller appends them to the lane with no await in between.
    pub fn answer_and_encode_click<B>(
        &self,
        request: &Request<B>,
        context: &RequestContext,
        scratch: &mut ScratchBuffers,
    ) -> Answer {
        let target = RequestTarget::reject_or_classify_and_find_domain(request, &self.domains);
        if context.peer.redirect_to_https
            && let Some(redirect) = self.redirect_http_client_if_host_has_certificate(request, context, &target)
        {
            return redirect;
        }
        let hsts = match target.host() {
            Some(host) if context.peer.tls => hsts_header(host.domain, self.default_hsts.as_ref()),
            _ => None,
        };
        let mut answer = match target {
            RequestTarget::Code(code) => {
                code_answer::answer_code_and_encode_click(self, request, &code, context, scratch)
            }
            RequestTarget::Fixed(path, host) => self.answer_fixed_path(path, host.domain, request.uri().path()),
            RequestTarget::Rejected(rejection) => {
                if let Some(preflight) = cors::answer_preflight_of_listed_origin(self, request) {
                    return preflight;
                }
                let page = Page::text(rejection.explanation_for_client());
                Answer::with_page(rejection.status(), page, Accounting::Rejected(rejection))
            }
        };
        if hsts.is_some() {
            answer.hsts = hsts;
        }
        answer
    }

    /// Whether a request is for a code: its answer makes a click.
    pub(super) fn is_for_code<B>(&self, request: &Request<B>) -> bool {
        matches!(RequestTarget::reject_or_classify_and_find_domain(request, &self.domains), RequestTarget::Code(_))
    }

    /// The redirect of a request on a listener with `redirect_to_https`. `None` if the client's connection is HTTPS
    /// already, if the host has no certificate, and for `/.well-known/`, which ACME clients ask for without TLS.
    fn redirect_http_client_if_host_has_certificate<B>(
        &self,
        request: &Request<B>,
        context: &RequestContext,
        target: &RequestTarget<'_>,
    ) -> Option<Answer> {
        let https_redirect = self.https_redirect.as_ref()?;
        let host: &RequestedHost<'_> = match target {
            RequestTarget::Fixed(FixedPath::WellKnown, _) => return None,
            target => target.host()?,
        };
        if self.trusted_proxies.is_client_https(request.headers(), context.peer) {
            return None;
        }
        https_redirect.redirect_if_host_has_certificate(host, request.uri())
    }

    fn answer_fixed_path(&self, fixed_path: FixedPath, domain: &Domain, path: &str) -> Answer {
        let responses = self.responses_of(domain);
        let (status, page) = match fixed_path {
            FixedPath::Root => match domain.root_url.as_ref().and_then(|url| url.to_header_with_code(b"")) {
                Some(url) => return Answer::redirect_302_to(url, domain, Accounting::FixedPath),
                None => (StatusCode::OK, responses.root.clone()),
            },
            FixedPath::Robots => (StatusCode::OK, responses.robots.clone()),
            FixedPath::Favicon => (StatusCode::NO_CONTENT, Page::empty()),
            FixedPath::WellKnown => match self.find_app_association_or_acme_page(domain, path) {
                Some(page) => (StatusCode::OK, page),
                None => (StatusCode::NOT_FOUND, Page::empty()),
            },
        };
        Answer::with_page(status, page, Accounting::FixedPath)
    }

    /// The page under `/.well-known/`: an app association file of the domain, else an ACME challenge.
    fn find_app_association_or_acme_page(&self, domain: &Domain, path: &str) -> Option<Page> {
        let association_file = match path {
            "/.well-known/apple-app-site-association" => domain.app_association_files.apple.clone(),
            "/.well-known/assetlinks.json" => domain.app_association_files.android.clone(),
            _ => None,
        };
        association_file.map(Page::json).or_else(|| self.acme_challenges.find_page(path))
    }
}
