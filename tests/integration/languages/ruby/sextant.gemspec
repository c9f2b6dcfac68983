Gem::Specification.new do |gem|
  gem.name = "sextant"
  gem.version = "3.0.1"
  gem.summary = "measures angles"
  gem.authors = ["Somebody"]
  gem.licenses = ["MIT"]
  gem.files = ["lib/sextant.rb"]
end
