//! Where a port listens, and when it gives up: a server that cannot be called must not run on in
//! the belief that it is a member.

use std::net::TcpListener;
use std::pin::pin;

use oxkeeper_config::ExitCode;
use oxkeeper_proto::ids::Sid;
use oxkeeper_server::election_port::{ElectionPort, Settings};
use tokio::net::TcpStream;

use crate::ensemble::{Ensemble, PORT, fresh_ip, membership, patient, run, settings, standing};

#[test]
fn it_listens_at_all_addresses_of_the_server() {
    run(async {
        let mut ensemble = Ensemble::of(1);
        let (one, other) = (fresh_ip(), fresh_ip());
        let config = format!("server.1={one}:2888:{PORT}|{other}:2888:{PORT}");
        ensemble.open_with(settings(1), patient(), &config).await;
        for ip in [one, other] {
            TcpStream::connect((ip, PORT)).await.unwrap();
        }
        ensemble.look(1, standing(0, 0));
        ensemble.settles_on(1).await;
    });
}

#[test]
fn a_port_in_use_is_tried_again_as_often_as_configured() {
    run(async {
        let ip = fresh_ip();
        let blocker = TcpListener::bind((ip, PORT)).unwrap();
        let config = membership(&format!("server.1={ip}:2888:{PORT}"));
        let once = Settings { bind_attempts: 1, ..settings(1) };
        let refused = ElectionPort::open(once, &config).await.unwrap_err();
        assert_eq!(refused.code, ExitCode::UnableToBindQuorumPort);
        let text = refused.message;
        assert!(text.contains(&ip.to_string()) && text.contains("electionPortBindRetry"), "{text}");

        let endless = Settings { bind_attempts: 0, ..settings(1) };
        let mut opening = pin!(ElectionPort::open(endless, &config));
        tokio::select! {
            biased;
            opened = &mut opening => panic!("the port is in use: {:?}", opened.err()),
            () = tokio::task::yield_now() => drop(blocker),
        }
        opening.await.unwrap();
    });
}

#[test]
fn who_is_not_in_the_configuration_or_wants_authentication_is_told_so() {
    run(async {
        let config = membership(&format!("server.1={}:2888:{PORT}", fresh_ip()));
        let stranger = Settings::new(Sid(2));
        let error = ElectionPort::open(stranger, &config).await.unwrap_err();
        assert!(error.message.contains("server.2"), "{error}");
        let mut secured = Settings::new(Sid(1));
        secured.links.authenticate = true;
        let error = ElectionPort::open(secured, &config).await.unwrap_err();
        assert!(error.message.contains("quorum.auth.enableSasl"), "{error}");
    });
}
