Feature: A model that another machine has is copied from there

  Scenario: The second machine copies from the first, and the hub sends the model once
    Given the hub has "acme/honey" with a model of 24 MB as "honey.Q4_K_M.gguf"
    And a node "attic" over SSH
    And a queen runs
    When I run `rbee-keeper infer --node localhost --model hf:acme/honey --prompt hello --temperature 0`
    Then the exit code is 0
    When I run `rbee-keeper infer --node attic --model hf:acme/honey --prompt hello --temperature 0`
    Then the exit code is 0
    And stderr shows "copying hf:acme/honey"
    And stderr shows "from localhost"
    And the hub has sent the bytes of honey.Q4_K_M.gguf once
    And the file of "hf:acme/honey:Q4_K_M" is what the hub has
    And the models folder has no rest of a download
    And the queen lists "hf:acme/honey:Q4_K_M" on "localhost, attic"

  Scenario: This machine copies from the one over SSH
    Given the hub has "acme/honey" with a model in 4 parts as "honey.Q4_K_M"
    And a node "attic" over SSH
    And a queen runs
    When I run `rbee-keeper models pull hf:acme/honey --node attic`
    Then the exit code is 0
    When the hub's log is cleared
    And I run `rbee-keeper infer --node localhost --model hf:acme/honey --prompt "write a short story" --temperature 0`
    Then the exit code is 0
    And stdout is the greedy story
    And stderr shows "from attic"
    And the hub was asked for nothing
    And the queen lists "hf:acme/honey:Q4_K_M" on "localhost, attic"

  Scenario: Two machines want a model at once: one downloads, the other waits and copies
    Given the hub has "acme/honey" with a model of 24 MB as "honey.Q4_K_M.gguf"
    And the hub holds honey.Q4_K_M.gguf back at 50 %
    And a node "attic" over SSH
    And a queen runs
    When I start these at once:
      | rbee-keeper infer --node localhost --model hf:acme/honey --prompt hello --temperature 0 |
      | rbee-keeper infer --node attic --model hf:acme/honey --prompt hello --temperature 0     |
    And the hub has sent so much
    And the hub goes on
    Then all of them end with the exit code 0
    And all of them write what the last one's model says
    And the hub has sent the bytes of honey.Q4_K_M.gguf once
    And the queen lists "hf:acme/honey:Q4_K_M" on "localhost, attic"

  Scenario: The other machine has gone since: the hub is asked after all
    Given the hub has "acme/honey" with the file "honey.Q4_K_M.gguf"
    And a node "attic" over SSH
    And a queen runs
    When I run `rbee-keeper models pull hf:acme/honey --node attic`
    Then the exit code is 0
    When the machine's SSH server is stopped
    And I run `rbee-keeper infer --node localhost --model hf:acme/honey --prompt "write a short story" --temperature 0`
    Then the exit code is 0
    And stdout is the greedy story
    And the hub was asked 2 times for honey.Q4_K_M.gguf
