// Package knots knows speeds.
package knots

import "strconv"

// FromKilometres converts kilometres per hour.
func FromKilometres(speed string) string {
	value, err := strconv.ParseFloat(speed, 64)
	if err != nil {
		return err.Error()
	}
	return strconv.FormatFloat(value/1.852, 'f', 1, 64)
}
