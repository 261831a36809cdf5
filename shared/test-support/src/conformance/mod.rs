//! Conformance suites of the ports: what every implementation must do, fakes and real ones alike.
