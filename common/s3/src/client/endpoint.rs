//! Addresses of requests, resolved once for each bucket. The S3 client evaluates the service's
//! table of endpoint rules for each key, although no rule depends on the key, at a tenth of the CPU
//! cost of a small request.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aws_sdk_s3::config::endpoint::{
    DefaultResolver, EndpointFuture, InvalidParams, Params, ResolveEndpoint,
};
use aws_smithy_types::Document;
use aws_smithy_types::endpoint::Endpoint;

use crate::client::runtime::wait_for;
use crate::config::settings::Settings;

/// An endpoint resolver that applies the service's rules to the bucket alone, so that the client's
/// cache of the last result is effective.
#[derive(Debug)]
pub(crate) struct ByBucket {
    rules: DefaultResolver,
    routes: Arc<Routes>,
}

impl ByBucket {
    /// Builds a resolver that respects the regions of buckets known to have moved.
    pub fn new(routes: &Arc<Routes>) -> Self {
        Self { rules: DefaultResolver::new(), routes: Arc::clone(routes) }
    }
}

impl ResolveEndpoint for ByBucket {
    fn resolve_endpoint<'a>(&'a self, params: &'a Params) -> EndpointFuture<'a> {
        EndpointFuture::new(async move {
            let region = params.bucket().and_then(|bucket| self.routes.region(bucket));
            let of_bucket = without_key(params, region)?;
            self.rules.resolve_endpoint(&of_bucket).await
        })
    }
}

/// The address of a bucket, and the region that requests for it are signed for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The URL of the bucket; a slash and the key follow.
    pub url: String,
    pub region: String,
}

/// The regions and addresses of buckets, shared by all threads of a rank.
#[derive(Debug, Default)]
pub(crate) struct Routes(RwLock<Known>);

/// The regions that redirects have named, and the addresses resolved so far; `None` for a bucket
/// that the fast path cannot reach.
#[derive(Debug, Default)]
struct Known {
    /// Regions of buckets that the service has named in redirects.
    regions: HashMap<String, String>,
    routes: HashMap<String, Option<Arc<Route>>>,
}

impl Routes {
    /// Returns the region of a bucket, if the service has named it in a redirect.
    pub fn region(&self, bucket: &str) -> Option<String> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.regions.get(bucket).cloned()
    }

    /// Returns the number of buckets known to be in another region than the configured one.
    pub fn moves(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).regions.len()
    }

    /// Records that the service has named the region of a bucket.
    pub fn moved(&self, bucket: &str, region: &str) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let old = known.regions.insert(bucket.to_owned(), region.to_owned());
        if old.as_deref() != Some(region) {
            tracing::info!("the S3 bucket {bucket:?} is in the region {region:?}");
            known.routes.remove(bucket);
        }
    }

    /// Returns the address of a bucket; `None` where the service needs more than a URL and a plain
    /// signature, so that the fast path cannot be used.
    pub fn route(&self, settings: &Settings, bucket: &str) -> Option<Arc<Route>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = known.routes.get(bucket) {
            return route.clone();
        }
        let region = known.regions.get(bucket).unwrap_or(&settings.region).clone();
        // The lock is not held while the rules are applied. Two threads may resolve the same
        // bucket, with the same result.
        drop(known);
        let route = Route::of(settings, &region, bucket).map(Arc::new);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.routes.insert(bucket.to_owned(), route.clone());
        route
    }
}

impl Route {
    /// Applies the service's rules; `None` where they demand more than a URL and a plain signature.
    fn of(settings: &Settings, region: &str, bucket: &str) -> Option<Self> {
        let params = Params::builder()
            .bucket(bucket)
            .region(region)
            .set_endpoint(settings.endpoint_url.clone())
            .force_path_style(settings.path_style)
            .use_dual_stack(settings.use_dual_stack)
            .use_fips(settings.use_fips)
            .build()
            .ok()?;
        Self::at(&wait_for(DefaultResolver::new().resolve_endpoint(&params)).ok()?)
    }

    fn at(endpoint: &Endpoint) -> Option<Self> {
        let is_plain = endpoint.headers().next().is_none() && endpoint.properties().is_empty();
        let scheme = endpoint.auth_schemes().first().filter(|scheme| scheme.name() == "sigv4")?;
        let of = |name: &str| scheme.get(name).and_then(Document::as_string);
        let is_signed_plainly = of("signingName") == Some("s3");
        let url = endpoint.url().trim_end_matches('/').to_owned();
        let region = of("signingRegion")?.to_owned();
        (is_plain && is_signed_plainly).then_some(Self { url, region })
    }
}

/// Copies the parameters of a request without its key, and with the region of the bucket.
fn without_key(params: &Params, region: Option<String>) -> Result<Params, InvalidParams> {
    let own = |text: Option<&str>| text.map(str::to_owned);
    Params::builder()
        .set_bucket(own(params.bucket()))
        .set_region(region.or_else(|| own(params.region())))
        .set_use_fips(params.use_fips())
        .set_use_dual_stack(params.use_dual_stack())
        .set_endpoint(own(params.endpoint()))
        .set_force_path_style(params.force_path_style())
        .set_accelerate(params.accelerate())
        .set_use_global_endpoint(params.use_global_endpoint())
        .set_use_object_lambda_endpoint(params.use_object_lambda_endpoint())
        .set_disable_access_points(params.disable_access_points())
        .set_disable_multi_region_access_points(params.disable_multi_region_access_points())
        .set_use_arn_region(params.use_arn_region())
        .set_use_s3_express_control_endpoint(params.use_s3_express_control_endpoint())
        .set_disable_s3_express_session_auth(params.disable_s3_express_session_auth())
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(params: &Params) -> [String; 2] {
        let url = |it: EndpointFuture<'_>| {
            wait_for(it).map_or_else(|error| error.to_string(), |it| format!("{it:?}"))
        };
        let own = ByBucket::new(&Arc::default());
        [url(own.resolve_endpoint(params)), url(DefaultResolver::new().resolve_endpoint(params))]
    }

    #[test]
    fn the_key_makes_no_difference() {
        let buckets = [
            "plain",
            "with.dots",
            "Upper",
            "x--use1-az4--x-s3",
            "arn:aws:s3:us-east-1:123456789012:accesspoint:mine",
        ];
        for bucket in buckets {
            for (path_style, endpoint) in [(true, Some("http://127.0.0.1:1")), (false, None)] {
                let params = Params::builder()
                    .bucket(bucket)
                    .region("eu-west-3")
                    .key("a/b")
                    .prefix("c/")
                    .copy_source("d/e")
                    .force_path_style(path_style)
                    .set_endpoint(endpoint.map(str::to_owned))
                    .build()
                    .unwrap();
                let [own, rules] = both(&params);
                assert_eq!(own, rules, "{bucket} {path_style}");
            }
        }
    }

    fn route(bucket: &str, path_style: bool, endpoint: Option<&str>) -> Option<(String, String)> {
        let params = Params::builder()
            .bucket(bucket)
            .region("eu-west-3")
            .force_path_style(path_style)
            .set_endpoint(endpoint.map(str::to_owned))
            .build()
            .unwrap();
        let endpoint = wait_for(DefaultResolver::new().resolve_endpoint(&params)).unwrap();
        Route::at(&endpoint).map(|route| (route.url, route.region))
    }

    #[test]
    fn plain_buckets_have_an_address_and_others_are_the_clients_business() {
        let own = Some("http://127.0.0.1:1/");
        let at = |url: &str, region: &str| Some((url.to_owned(), region.to_owned()));
        assert_eq!(route("bkt", true, own), at("http://127.0.0.1:1/bkt", "eu-west-3"));
        let amazon = "https://bkt.s3.eu-west-3.amazonaws.com";
        assert_eq!(route("bkt", false, None), at(amazon, "eu-west-3"));
        assert_eq!(route("x--use1-az4--x-s3", false, None), None);
        assert_eq!(route("arn:aws:s3::123456789012:accesspoint:my.mrap", false, None), None);
    }

    #[test]
    fn a_bucket_that_has_moved_is_asked_for_where_it_is() {
        let routes = Arc::new(Routes::default());
        let settings = crate::config::resolve::anonymous_settings();
        let region = |routes: &Routes| routes.route(&settings, "bkt").map(|it| it.region.clone());
        assert_eq!(region(&routes).as_deref(), Some("us-east-1"));
        routes.moved("bkt", "eu-west-3");
        assert_eq!(region(&routes).as_deref(), Some("eu-west-3"));
        let params = Params::builder().bucket("bkt").region("us-east-1").build().unwrap();
        let own = ByBucket::new(&routes);
        let endpoint = wait_for(own.resolve_endpoint(&params)).unwrap();
        assert_eq!(endpoint.url(), "https://bkt.s3.eu-west-3.amazonaws.com");
    }
}
