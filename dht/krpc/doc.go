// Package krpc has the messages of the Mainline DHT (BEP 5, "KRPC Protocol").
package krpc
