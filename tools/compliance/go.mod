module github.com/tributary-project/tributary/tools/compliance

go 1.26.0

tool github.com/prometheus/complicance/remotewrite2

require github.com/prometheus/complicance/remotewrite2 v0.0.0 // indirect

// The published module calls itself by a path that is misspelt.
replace github.com/prometheus/complicance/remotewrite2 => github.com/prometheus/compliance/remotewrite/receiver v0.0.0-20260806071727-67b8327a2e93
