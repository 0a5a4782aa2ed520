//! Where requests go: found out once for a bucket. The client's own way asks the service's table of rules
//! again for each key, though none of them looks at it, and that costs a tenth of a small request.

use aws_sdk_s3::config::endpoint::{
    DefaultResolver, EndpointFuture, InvalidParams, Params, ResolveEndpoint,
};

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
    use crate::store::s3::client::wait_for;

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
}
