// Package netns gives tests a small network of hosts, each a network
// namespace with real addresses and a loopback of its own. It works on Linux,
// for root; what it needs beside the kernel is ip(8).
//
//	hub: bridge 10.77.0.1 fd00:77::1
//	   |            |             |
//	10.77.0.2    10.77.0.3     10.77.0.4       one namespace per host
//	fd00:77::2   fd00:77::3    fd00:77::4
//
// or with global addresses of networks of their own, 85.77.1.1 and 2a05:77:0:1::1
// to 85.77.4.1 and 2a05:77:0:4::1.
//
// Nothing leaves the machine: no namespace has a route to the outside. The
// namespaces have no name and live only as long as the test process and its
// children, which die with it, so that a killed test leaves neither behind. Where
// a suite keeps its files in memory they go with it as well.
package netns
