//! Where requests go: found out once for a bucket. The client's own way asks the service's table of rules
//! again for each key, though none of them looks at it, and that costs a tenth of a small request.

use aws_sdk_s3::config::endpoint::{
    DefaultResolver, EndpointFuture, InvalidParams, Params, ResolveEndpoint,
};
use aws_smithy_types::Document;
use aws_smithy_types::endpoint::Endpoint;

use super::client::wait_for;
use super::settings::Settings;

/// The service's rules, which remember what they last came to.
#[derive(Debug, Default)]
pub(super) struct ByBucket(DefaultResolver);

impl ResolveEndpoint for ByBucket {
    fn resolve_endpoint<'a>(&'a self, params: &'a Params) -> EndpointFuture<'a> {
        EndpointFuture::new(async move {
            let of_bucket = without_key(params)?;
            self.0.resolve_endpoint(&of_bucket).await
        })
    }
}

/// Where the requests for a bucket's objects go, and for which region they are signed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// A key is put behind it, after a slash.
    pub url: String,
    pub region: String,
}

impl Route {
    /// None where the service's rules want more than an address and a plain signature.
    pub fn of(settings: &Settings, bucket: &str) -> Option<Self> {
        let params = Params::builder()
            .bucket(bucket)
            .region(&settings.region)
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

fn without_key(params: &Params) -> Result<Params, InvalidParams> {
    let own = |text: Option<&str>| text.map(str::to_owned);
    Params::builder()
        .set_bucket(own(params.bucket()))
        .set_region(own(params.region()))
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
        let own = ByBucket::default();
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
}
