Feature: The models of the machines can be looked at, fetched and removed

  Scenario: A model is fetched, shown and removed
    Given the hub has "acme/honey" with the files "honey.Q4_K_M.gguf, honey.Q8_0.gguf"
    And a queen runs
    When I run `rbee-keeper models variants hf:acme/honey`
    Then the exit code is 0
    And stdout shows "Q4_K_M"
    And stdout shows "Q8_0"
    And stdout shows "default"
    When I run `rbee-keeper models pull hf:acme/honey`
    Then the exit code is 0
    And stderr shows "100 %"
    And stdout shows "hf:acme/honey:Q4_K_M is on localhost now: downloaded from the hub"
    When I run `rbee-keeper models pull hf:acme/honey`
    Then the exit code is 0
    And stdout shows "was on localhost already"
    When I run `rbee-keeper models list`
    Then the exit code is 0
    And stdout shows "hf:acme/honey:Q4_K_M"
    And stdout shows "builtin:honeycomb"
    When I run `rbee-keeper infer --model hf:acme/honey --prompt hello`
    Then the exit code is 0
    When I run `rbee-keeper models show hf:acme/honey`
    Then the exit code is 0
    And stdout shows "SHA-256"
    And stdout shows "KV cache"
    And stdout shows "estimated"
    When I run `rbee-keeper models rm hf:acme/honey`
    Then the exit code is 1
    And stderr shows "workers shutdown"
    When the hive of the queen has ended all workers
    And I run `rbee-keeper models rm hf:acme/honey`
    Then the exit code is 0
    And stdout shows "3.1 MB freed"
    And the models folder has no model
    When I run `rbee-keeper models list --json`
    Then the exit code is 0
    And stdout does not show "hf:acme/honey"

  Scenario: Files that somebody put into the models folder are found
    Given a queen and a hive run
    And the bundled model copied as "mine.gguf" into the models folder
    And a file "broken.gguf" in the models folder that says "no model"
    When I run `rbee-keeper models scan`
    Then the exit code is 0
    And stdout shows "added file:///"
    And stdout shows "refused"
    And stdout shows "broken.gguf"
    When I run `rbee-keeper models scan`
    Then the exit code is 0
    And stdout does not show "added file"

  Scenario: Ctrl+C ends a pull, and the next one goes on
    Given the hub has "acme/honey" with a model of 40 MB as "honey.Q4_K_M.gguf"
    And the hub sends 10000 KB a second
    And the hub holds honey.Q4_K_M.gguf back at 60 %
    And a queen and a hive run
    When I start `rbee-keeper models pull hf:acme/honey`
    And the hub has sent so much
    And the partial file holds 57 % of its model
    And I press Ctrl+C
    Then the exit code is 130
    And stderr shows "rbee-keeper models pull hf:acme/honey"
    When the hub goes on
    And the hub's log is cleared
    And I run `rbee-keeper models pull hf:acme/honey`
    Then the exit code is 0
    And stdout shows "resuming hf:acme/honey"
    And the hub was asked last for the rest of honey.Q4_K_M.gguf from 57 to 60 %
    And the file of "hf:acme/honey:Q4_K_M" is what the hub has
