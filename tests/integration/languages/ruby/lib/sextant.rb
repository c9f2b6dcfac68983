# Measures angles.
module Sextant
  def self.angle = 60
end
